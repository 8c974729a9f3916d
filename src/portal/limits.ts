/** Numbers of the portal, each with its reason. */
export const LIMITS = {
  /** A browser follows the redirect at once; a stolen code must be worthless by the time that somebody tries it. */
  codeLifetimeSeconds: 60,
  /** Of the portal's own session; used ones are prolonged once a day. */
  portalSessionSeconds: 7 * 24 * 3_600,
  portalSessionRenewSeconds: 24 * 3_600,
  /** NIST SP 800-63B: at least 8; the maximum bounds what a request can make scrypt chew. */
  passwordMinLength: 8,
  passwordMaxLength: 128,
  /** Tries to sign in per address: people mistype, programs guess. */
  signInTries: { max: 10, windowSeconds: 60 },
  /** Failed ones per account, from whatever addresses: 2,000 guesses a day; somebody locked out by others waits a coffee's time. */
  accountTries: { max: 20, windowSeconds: 15 * 60 },
  /** A sign-in form has three short fields. */
  formBytes: 8 * 1024,
  /** Tenants listed on the start page. */
  listedTenants: 50,
} as const;
