/** Every number of the console, with its reason. */

/** A tenant with 200 routes takes about 20 KB; with answers and rules of their own ten times as much. */
export const MAX_BODY_BYTES = 256 * 1024;
/** Routes as JSON travel with every directory record of the tenant, one a host. */
export const MAX_ROUTES_CHARACTERS = 128 * 1024;

/** A screenful or two for people; programs ask for more. */
export const DEFAULT_PAGE_SIZE = 50;
/** One page stays one quick query and a readable answer. */
export const MAX_PAGE_SIZE = 200;

/** A client that lost the answer repeats within minutes; a day covers a night's outage. */
export const IDEMPOTENCY_LIFETIME_MS = 24 * 60 * 60 * 1000;
/** Room for a UUID with a prefix, and for nothing that would bloat the index. */
export const MAX_IDEMPOTENCY_KEY_LENGTH = 128;

/** Long enough to install a machine by hand, short enough that a forgotten token is worthless tomorrow. */
export const ENROLMENT_LIFETIME_MS = 60 * 60 * 1000;

/** Steps take 10-500 ms; a watcher sees each, at five small queries a second. */
export const EVENTS_POLL_MS = 200;
/** Proxies cut silent connections at 30-100 s. */
export const EVENTS_HEARTBEAT_MS = 15_000;
/** A watcher of a stuck operation is sent away; it may come back. */
export const EVENTS_MAX_MS = 10 * 60 * 1000;

/** As many as a message to a node takes. */
export const MAX_SERVICES_PER_TENANT = 50;
/** As the directory record and the node's configuration have them. */
export const MAX_ROUTES_PER_TENANT = 200;
/** A node takes 100 hosts of a tenant (protocol/node-channel.ts); up to ten are below base domains of its cluster. */
export const MAX_CUSTOM_HOSTS_PER_TENANT = 90;
export const MAX_KEYS_PER_CONNECTOR = 8;
export const MAX_TARGETS_PER_CONNECTOR = 256;
/** As the lanes take (protocol/lane.ts): room for a change of secret with instances at several sites. */
export const MAX_SECRETS_PER_CONNECTOR = 8;
/** A secret that a person brings must be as hard to guess as one of ours, for only its hash is kept. */
export const MIN_SECRET_LENGTH = 40;
export const MIN_SECRET_CHARACTERS = 16;
/** As JSON text in a grant, which takes 64 KiB. */
export const MAX_CONFIG_CHARACTERS = 48 * 1024;
export const MAX_ISSUERS_PER_TENANT = 4;
/** A window that was forgotten closes by itself before the day is over. */
export const MAX_PAIRING_MINUTES = 60;
export const DEFAULT_PAIRING_MINUTES = 10;

/** Most requests end within seconds; a deploy should not wait long for a stream that never ends. */
export const DRAIN_GRACE_SECONDS = 60;
/** As long as a lane takes (relay/limits.ts). */
export const DRAIN_GRACE_SECONDS_MAX = 3600;

/** As the directory record takes. */
export const MAX_SERVICE_TOKENS_PER_TENANT = 50;
/** One word that is not in a list would do where tries are counted; people read it out to each other. */
export const MIN_VISITOR_PASSWORD_LENGTH = 8;
export const MAX_VISITOR_PASSWORD_LENGTH = 200;
/** What Workers allow at most; about 20 ms for a try. */
export const PASSWORD_ITERATIONS = 100_000;

/** The slowest calls take a second or two; a database that stands still is reported before people and programs give up by themselves. */
export const ANSWER_WITHIN_MS = 10_000;

/** What visitors have begun at a node that a tenant leaves ends so soon, unless an operator gives it longer. */
export const MOVE_DRAIN_SECONDS = 30;
/** Other changes of the tenant wait so long. */
export const MOVE_DRAIN_SECONDS_MAX = 3600;

/** Side by side for one tenant: as many calls as its connectors and services would notice. */
export const MAX_JOB_WORKERS = 8;
/** A worker keeps all of them in one value of its storage, which takes 2 MB. */
export const MAX_JOBS_PER_TENANT = 100;
export const MAX_JOBS_CHARACTERS = 256 * 1024;
