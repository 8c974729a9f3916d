/** Every number of the provisioner, with its reason. */

/**
 * A run that died is taken over after this. Longer than any usual step: the longest waits PUSH_WAIT_MS for a node. Renewed by every step. A
 * migration that takes longer is taken over as well; the second run then waits for it at the ledger.
 */
export const LEASE_MS = 10_000;

/** How long one attempt waits for a node's report: most come within 300 ms; longer waits go back to the queue, so they block nobody. */
export const PUSH_WAIT_MS = 4_000;

/** Errors of one step until its operation is given up: with the backoff below about two minutes, then a person should look. */
export const MAX_STEP_ATTEMPTS = 8;
export const BACKOFF_FIRST_MS = 1_000;
export const BACKOFF_MAX_MS = 60_000;

/** A step that waits for something outside (a node coming online, room on a node) is given up after this. */
export const MAX_WAIT_MS = 10 * 60_000;
/** Looks again after a quarter of the time that it has waited, within these. */
export const WAIT_MIN_MS = 1_000;
export const WAIT_MAX_MS = 15_000;

/** A socket younger than this may have been opened while the lane was asked. */
export const PRESENCE_GRACE_MS = 60_000;
/** How often a connector or node that is shown as online is checked; events tell of nearly every change, this finds what a crash kept silent. */
export const PRESENCE_CHECK_MS = 5 * 60_000;
/** Objects asked a sweep: asking wakes them. */
export const PRESENCE_CHECKS = 25;

/** Outbox rows and due operations are left to their own message for this long: it is sent within milliseconds of its commit. */
export const SWEEP_GRACE_MS = 1_000;
/** Queues keep roughly to the order of sending; a message that one sent so much later has overtaken is lost. A retried operation is due 10 s early. */
export const TAKEN_OUT_OF_ORDER_MS = 20_000;
/** No operation has begun for so long: nothing is ahead of whoever waits. A long queue begins some every second. */
export const STANDSTILL_MS = 5_000;
/** A step that takes so long may have died with its run; most take less than half a second. A dead run's lease is longer still. */
export const SLOW_STEP_MS = 3_000;
/** Who was reminded of in vain is so again after these: 30 s, 1, 2, 4, 8, 10 minutes. */
export const REMIND_AGAIN_MS = 30_000;
export const REMIND_AGAIN_MAX_MS = 10 * 60_000;
/** Messages a sweep: it runs every minute, and one invocation may send some hundreds in its time. */
export const SWEEP_BATCH = 200;

/** Sent outbox rows and ended sessions are kept this long for looking back. */
export const OUTBOX_RETENTION_MS = 7 * 24 * 60 * 60_000;
export const SESSION_RETENTION_MS = 30 * 24 * 60 * 60_000;

/** Reasons go to rows and to people; a driver's or Envoy's own words can be long. */
export const MAX_REASON_LENGTH = 2_000;

/** Services that were replaced may finish with their old login for so long; nodes drain them within less. */
export const LOGIN_GRACE_MS = 60_000;

/** Keys of outside issuers: looked at again every hour (issuers publish a new key days before they use it), after a failure in five minutes. */
export const ISSUER_REFRESH_MS = 60 * 60_000;
export const ISSUER_RETRY_MS = 5 * 60_000;
/** Fetched in one run of the cron, one after another, each at most twice the timeout. */
export const ISSUER_REFRESHES = 5;
export const ISSUER_TIMEOUT_MS = 5_000;
/** A JWK set of a large issuer with certificate chains has about 20 KiB. */
export const ISSUER_ANSWER_BYTES = 128 * 1024;
/** As the lanes take (protocol/lane.ts). */
export const ISSUER_KEYS_MAX = 16;

/** Tenants whose lanes are asked at the same time: calls wait for each other only where an object has to wake. */
export const DRAIN_BATCH = 25;
/** One attempt asks for this long, well within its lease; then the operation goes back to the queue, and others get their turn. */
export const DRAIN_ATTEMPT_MS = 4_000;
/** Between two rounds over all tenants. */
export const DRAIN_ROUND_MS = 1_000;
/** A drain waits so long for connectors of a tenant that are on this lane only: they may be on their way back to the other one. */
export const DRAIN_PEER_WAIT_MS = 60_000;
/** After the grace a lane goes on taking nothing for so long: time to deploy it. */
export const DRAIN_HOLD_MS = 5 * 60_000;
/** Lanes begin a moment after they are asked, and the last one is asked last: a drain may take so much longer than its grace. */
export const DRAIN_SLACK_MS = 60_000;

/** A resolver answers from its cache in milliseconds, and asks servers that are far away within some seconds. */
export const DNS_TIMEOUT_MS = 5_000;
/** The longest DNS message. */
export const DNS_ANSWER_BYTES = 65_535;
/** Aliases of aliases that are followed; resolvers stop at about as many. */
export const DNS_ALIASES = 8;

/**
 * A claimed host is looked at every minute at first (its owner sits there and waits), then less and less often, each step up to this age of
 * the claim.
 */
export const CLAIM_CHECKS = [
  { untilAgeMs: 15 * 60_000, everyMs: 60_000 },
  { untilAgeMs: 2 * 60 * 60_000, everyMs: 5 * 60_000 },
  { untilAgeMs: 7 * 24 * 60 * 60_000, everyMs: 60 * 60_000 },
] as const;
/** A proven host is looked at again four times a day: a domain that changed hands is noticed within hours, and DNS is hardly bothered. */
export const PROOF_RECHECK_MS = 6 * 60 * 60_000;
/** One whose proof is gone more often, so that it is back soon after its owner mended it. */
export const PROOF_MISSING_RECHECK_MS = 15 * 60_000;
/** It is withdrawn when the proof was missing so long: a mishap on a Friday evening can be mended on Monday. */
export const PROOF_MISSING_MAX_MS = 72 * 60 * 60_000;
/** Times are spread by this share, so that hosts that were added together are not always checked together. */
export const CHECK_SPREAD = 0.1;
/** Checks in one run of the cron, and at the same time: two or three questions each, most of them answered within 50 ms. */
export const HOST_CHECKS = 100;
export const HOST_CHECKS_PARALLEL = 10;

/** Cloudflare's API answers within a second or two, also when it has to start a certificate. */
export const FRONT_TIMEOUT_MS = 10_000;
/** One page of custom hostnames with their certificates. */
export const FRONT_ANSWER_BYTES = 256 * 1024;
/** Without a Retry-After: its limit counts over five minutes. */
export const FRONT_RETRY_AFTER_MS = 60_000;
export const FRONT_RETRY_AFTER_MAX_MS = 15 * 60_000;
/** A custom hostname that is being set up is looked at every minute in its first hour, then less often... */
export const FRONT_POLL_MS = 60_000;
export const FRONT_POLL_FIRST_MS = 60 * 60_000;
export const FRONT_POLL_LATER_MS = 15 * 60_000;
/** ...one that serves once a day: its certificate is renewed by the provider, and somebody may remove it there. */
export const FRONT_RECHECK_MS = 24 * 60 * 60_000;
/** Looked at in one run of the cron, one after another: far below the API's 1,200 requests in five minutes. */
export const FRONT_CHECKS = 30;
/** A host that should be gone is gone within seconds; one that is not after this had an operation that failed, and gets a new one. */
export const HOST_LEAVING_MAX_MS = 10 * 60_000;
export const HOST_REPAIRS = 20;

/** After a directory record has changed every edge goes by it within this (src/edge-router/limits.ts: 6 s old at most, and the lookup's time). */
export const EDGES_FOLLOW_MS = 10_000;
/** A node that is connected has let a tenant go within its services' 7 s; longer than this nobody waits: the order is in its channel. */
export const LEAVE_WAIT_MS = 30_000;
export const LEAVE_LOOK_MS = 1_000;
/** Tenants of a draining node that are brought up elsewhere at once: each starts its services there. Those that only wait don't count. */
export const NODE_DRAIN_PARALLEL = 4;
export const NODE_DRAIN_ROUND_MS = 1_000;

/** Tenants whose hosts follow a change of their cluster's base domains at once: each is a push to its node and a few directory writes. */
export const DOMAINS_PARALLEL = 20;
export const DOMAINS_ROUND_MS = 1_000;

/** How long a publication waits for each master that is online: they take milliseconds, and visitors need not wait for one that hangs. */
export const MASTER_WAIT_MS = 2_000;
/** Tenants that masters are told of in one round: it takes a second, two more when a master hangs. */
export const FILL_BATCH = 200;
/** Rounds that a run begins, and the pause before the next run: with the last round it stays below a lease of ten seconds. */
export const FILL_RUN_MS = 5_000;
export const FILL_ROUND_MS = 100;

/** A job's call that was answered with 429 or 503 is made again after these, each twice the one before (G27). */
export const JOB_RETRY_FIRST_MS = 500;
export const JOB_RETRY_MAX_MS = 15_000;
export const JOB_ATTEMPTS = 4;
/** A run that was cut off so often is its own cause. */
export const JOB_INTERRUPTIONS = 3;
/** One alarm works so long, then a new one goes on: a platform allows an alarm 15 minutes, and the longest call takes 5. */
export const JOB_ALARM_MS = 5 * 60_000;
/** After a call should have ended by itself: its object is gone, and another one takes over. */
export const JOB_WATCHDOG_MS = 5_000;
/** Runs and log lines go to the database within this while a run goes on; its end is sent at once. */
export const JOB_RECORD_EVERY_MS = 1_000;
/** While the database is away it is tried again after these. */
export const JOB_RECORD_RETRY_MS = 1_000;
export const JOB_RECORD_RETRY_MAX_MS = 60_000;
/** What is due waits no longer for the database than this; records take milliseconds. */
export const JOB_TELL_WAIT_MS = 2_000;
/** Sent in one transaction: some hundred kilobytes. */
export const JOB_RECORD_BATCH = 200;
/** Kept in the object for a database that is away; the oldest lines go first. About 5 MB. */
export const JOB_LINES_KEPT = 10_000;
export const JOB_RECORDS_KEPT = 2_000;
/** Log lines of one run: a run with thousands of items tells of its first ones, and of its end. */
export const JOB_LINES_PER_RUN = 500;
/** An access token is not used any more so shortly before its end: the call has to arrive with it. */
export const JOB_TOKEN_MARGIN_MS = 10_000;
/** Without `expires_in`: most servers give out an hour. */
export const JOB_TOKEN_LIFETIME_MS = 5 * 60_000;
/** A description of what went wrong, from somebody else's answer. */
export const JOB_REASON_CHARACTERS = 300;
/** Workers whose alarm may have got lost are looked after this often, and so many in one run of the cron. */
export const JOB_CHECK_MS = 5 * 60_000;
export const JOB_CHECKS = 25;
/** About 20 MB of a tenant's log; the oldest lines go before their days are over. */
export const JOB_LINES_PER_TENANT = 100_000;
