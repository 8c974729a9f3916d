/** Numbers of the edge router, each with its reason. */
export const LIMITS = {
  /** An active record is not asked for again within this: keeps the directory out of nearly every request. */
  activeFreshMs: 3_000,
  /** An older one is still served while it is refreshed behind the request. With the request's own time it keeps a suspension below 10 s. */
  activeServedMs: 6_000,
  /** A miss or another state changes soon (somebody waits for the new tenant): visible within 2 s, even if asked for just before. */
  otherFreshMs: 1_000,
  /** A directory object that is healthy answers in milliseconds, also when it must be started. */
  lookupTimeoutMs: 2_000,
  /** A lookup that another request began is waited for until it is this old; that request may be gone, and its lookup with it. */
  sharedLookupMs: 500,
  /** After a failed lookup the last known record is served this long without asking again... */
  failureQuietMs: 1_000,
  /** ...and this long while asking behind the request, so that a hanging directory does not slow down every request. */
  failureServedMs: 3_000,
  /** Default of the setting OUTAGE_MINUTES: how long records are served without the directory. */
  outageMs: 15 * 60_000,
  /** About 2 KB each: 10 MB of an isolate's 128 MB... */
  cachedRecords: 5_000,
  /** ...and all together no more than this, as JSON, which may take three times as much in memory: a record may have 128 KB of routes. */
  cachedRecordCharacters: 12_000_000,
  /** Apart from the records, so that a scan over random names can't push these out. */
  cachedMisses: 2_000,
  /** About 0.2 KB each; a cluster has fewer nodes. */
  cachedNodeUrls: 1_000,
  /** About 0.5 KB each. */
  cachedProofs: 5_000,
  /** A proof is renewed when less than this is left of it: clocks of nodes may be ahead, and a request may wait in a queue. */
  proofRenewSeconds: 90,
  /** Default of the setting FIRST_BYTE_SECONDS: until a node or lane answers with headers, counted from the end of the request's body. */
  firstByteMs: 60_000,
  /** Small bodies are kept so that a refused request can be sent to the other lane. */
  replayableBodyBytes: 64 * 1024,
  /** What is under way at a lane counts this long; so long a visitor who went away still weighs, and a long poll weighs no more. */
  laneLeaseMs: 5_000,
  /** Small requests that a tenant's first lane has more under way than the other before that one helps: about what one turn of an object takes. */
  homeSurplus: 128,
  /** A long body of known length counts as bulk as long as it takes at this speed: a slow visitor's 8 MB/s... */
  bulkBytesPerMs: 8_000,
  /** ...but no longer than this: it may have been cut off long ago. */
  bulkLeaseMaxMs: 10 * 60_000,
  /** About 1 KB each. */
  tenantsWithLoad: 2_000,
  /** About 0.3 KB each; made-up hosts push each other out. */
  cachedHosts: 5_000,
  /** A lane that failed is tried last for this long. */
  laneSuspectMs: 2_000,
  /** One that refused what the other one took, too: short, because it answers, and the next request may be for another target. */
  laneRefusedMs: 500,
  /** Life of the cookie that ties a sign-in to this browser: time to make an account or set a password by a mailed link on the way (30 min). */
  signInSeconds: 3_600,
  /** After so long the portal is asked again whether a session lasts, behind the request: one query by primary key, per session and isolate... */
  sessionFreshMs: 4_000,
  /** ...and after so long before the request goes on. With the question's own time it keeps a sign-out below 10 s, copies of its cookie included. */
  sessionServedMs: 7_000,
  /** Open WebSockets of protected routes are judged anew so often: between what is cached for some seconds and the 10 s that a revocation may take. */
  socketCheckMs: 2_000,
  /** A portal that works answers in some milliseconds; one that hangs must not stop those who are signed in. */
  sessionCheckTimeoutMs: 2_000,
  /** After a check that failed, so that a broken portal does not slow down every request. */
  sessionRecheckMs: 10_000,
  /** About 0.2 KB each. */
  cachedSessions: 10_000,
  /** Of the address to return to; with four of them in base64 the Cookie header stays below the usual 16 KB. */
  returnPathLength: 2_000,
  /** Sign-ins that one browser has open on one host (tabs); more would only grow its Cookie header. */
  openSignIns: 4,
  /** About 0.8 KB each, one for each person or service token that is active. */
  cachedIdentities: 2_000,
  /** About 0.6 KB each. */
  cachedPasses: 2_000,
  /** How long the visitor password is not asked for again: as a session. */
  passSeconds: 12 * 3_600,
  /** Ours have about 350 characters. */
  passLength: 1_000,
  /** A password, a path to return to, and their encoding. */
  passwordFormBytes: 8 * 1024,
  passwordLength: 200,
  /** A person mistypes a few times; each try costs about 20 ms of this isolate. */
  passwordTriesPerMinute: 10,
  /** Of all visitors of a tenant: so many addresses help a guesser no more. */
  passwordTriesPerMinuteAndTenant: 100,
  /** Tenants and routes with a rate; about 0.1 KB each. */
  cachedTenantRates: 5_000,
  /** Visitors of those; about 0.15 KB each. Whoever is pushed out begins anew. */
  cachedVisitorRates: 20_000,
} as const;
