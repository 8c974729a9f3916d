/** Numbers of the portal, each with its reason. */
export const LIMITS = {
  /** A browser follows the redirect at once; a stolen code must be worthless by the time that somebody tries it. */
  codeLifetimeSeconds: 60,
  /** Of the portal's own session; used ones are prolonged once a day. */
  portalSessionSeconds: 7 * 24 * 3_600,
  portalSessionRenewSeconds: 24 * 3_600,
  /** From its sign-in, however much it is used (NIST SP 800-63B, AAL1). */
  portalSessionMaxSeconds: 30 * 24 * 3_600,
  /** NIST SP 800-63B: at least 8; the maximum bounds what a request can make scrypt chew. */
  passwordMinLength: 8,
  /** Of passwords that people choose here: there is no list of leaked ones to compare with, so length must do. */
  newPasswordMinLength: 12,
  passwordMaxLength: 128,
  /** Tries to sign in per address: people mistype, programs guess. */
  signInTries: { max: 10, windowSeconds: 60 },
  /** Failed ones per account, from whatever addresses: 2,000 guesses a day; somebody locked out by others waits a coffee's time. */
  accountTries: { max: 20, windowSeconds: 15 * 60 },
  /** Mails to one address that somebody may cause: enough to try again, too few to annoy. */
  mailTries: { max: 5, windowSeconds: 3_600 },
  /** Forms that cause mail, and links tried, from one address of the network: an office behind one address is not stopped. */
  addressTries: { max: 60, windowSeconds: 3_600 },
  /** OWASP: an hour at most; a mail takes minutes. */
  linkLifetimeSeconds: 30 * 60,
  /** Where a browser was going when it was asked to sign in: a mailed link's whole life and the forms around it. The edge keeps its half longer. */
  wayOnSeconds: 45 * 60,
  /** Invitations wait for people's holidays' end, not for ever. */
  invitationLifetimeSeconds: 7 * 24 * 3_600,
  /** Open at once per tenant: each is a mail in the platform's name. */
  openInvitations: 200,
  /** A mail service answers in a second; the visitor does not wait for it. */
  mailTimeoutMs: 10_000,
  /** RFC 5321, section 4.5.3.1.5, has 512 octets; servers are wordy. */
  smtpLineCharacters: 4_096,
  smtpReplyLines: 100,
  /** A provider that works answers in a second; the visitor waits. */
  providerTimeoutMs: 5_000,
  /** Descriptions and key sets have some kilobytes. */
  providerBytes: 128 * 1024,
  /** To sign in at a provider, second factor included. */
  providerSignInSeconds: 10 * 60,
  /** How long a proof at a tenant's provider counts for a session of the portal: a working day, as sessions on its hosts. */
  providerProofSeconds: 12 * 3_600,
  /** Sessions shown on the account page, the newest. */
  listedSessions: 50,
  /** Tenants that know an account, shown on its page, the newest. */
  listedConsents: 100,
  /** Members and invitations told to the console, each. */
  listedMembers: 1_000,
  /** How long a page shows a tenant being set up; it takes seconds. */
  progressMs: 60_000,
  /** Steps take 10-500 ms. */
  progressPollMs: 400,
  /** A sign-in form has three short fields. */
  formBytes: 8 * 1024,
  /** Tenants listed on the start page. */
  listedTenants: 50,
} as const;
