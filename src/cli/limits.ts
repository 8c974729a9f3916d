/** Every number of the command line and the local stack, with its reason. */

// --- supervision ---

/** First restart after a death: at once enough that nobody notices, not so fast that a broken part burns a core. */
export const RESTART_FIRST_DELAY_MS = 100;
/** A part that keeps dying is tried at least this often, so that it comes back soon after its cause is gone. */
export const RESTART_MAX_DELAY_MS = 5_000;
/** A part that lived this long was well: its next death starts again with the first delay. */
export const RESTART_FORGET_AFTER_MS = 15_000;
/** So many deaths in a row are a crash loop: its last log lines are shown. */
export const CRASH_LOOP_DEATHS = 4;
/** Log lines shown of a part that fails. */
export const FAILURE_LOG_LINES = 15;
/** A part has this long for its clean stop (Postgres writes a checkpoint, connectors drain); then it is killed. */
export const PART_STOP_TIMEOUT_MS = 8_000;
/** How often a starting part is asked whether it is ready. Small against start-up, cheap on loopback. */
export const READY_POLL_MS = 50;
/** A part that is not ready by then counts as failed. Generous: two busy cores, cold disk, first start of Postgres. */
export const PART_READY_TIMEOUT_MS = 60_000;
/** The same Ctrl-C often arrives twice, from the terminal and from the starter; a second one later means "now". */
export const SECOND_SIGNAL_AFTER_MS = 750;

// --- containers (--upstream compose) ---

/** An engine that does not answer `docker info` by then is taken for none; a busy machine takes a second. */
export const DOCKER_ANSWER_TIMEOUT_MS = 10_000;
/** Between SIGTERM and SIGKILL for a container; the same order as for parts. */
export const CONTAINER_STOP_TIMEOUT_SECONDS = 10;

// --- leftovers, stop and status ---

/** How long a reaped leftover may take to vanish after SIGKILL. */
export const REAP_TIMEOUT_MS = 5_000;
/** Leftovers get this long to stop by themselves (Postgres flushes) before SIGKILL. */
export const REAP_GRACE_MS = 3_000;
/** `causeway down` waits this long for the supervisor: every part's stop timeout, some parts after others. */
export const DOWN_TIMEOUT_MS = 45_000;
/** Poll interval while waiting for processes of others to end. */
export const PROCESS_POLL_MS = 50;

// --- logs ---

/** A part's log is cut to its newer half when it grows beyond this, so that a stack left running fills no disk. */
export const LOG_MAX_BYTES = 16 * 1024 * 1024;
/** How often log sizes are looked at. */
export const LOG_CHECK_INTERVAL_MS = 30_000;
/** `causeway logs` shows this many last lines of each part. */
export const LOG_TAIL_LINES = 200;
/** `causeway logs -f` looks for new lines this often. */
export const LOG_FOLLOW_POLL_MS = 200;
/** Read from the end of a log to find its last lines. */
export const LOG_TAIL_BYTES = 256 * 1024;

// --- ports ---

/** Free ports of the stack are looked for here: below the ephemeral range, so that no outgoing connection sits on one at the next start, and below the services of node agents (21,000). */
export const PORT_RANGE_FIRST = 12_000;
export const PORT_RANGE_LAST = 20_999;
/** Tries for one free port. */
export const PORT_TRIES = 50;

// --- Workers host ---

/** Crons do not fire by themselves locally; every minute on Cloudflare, but people who watch a stack wait for nothing that long. */
export const LOCAL_CRON_INTERVAL_MS = 5_000;

// --- API client ---

/** One call of the management API. Creating a member hashes a password, which is the slowest thing it does. */
export const API_TIMEOUT_MS = 30_000;
/** `--wait` gives up after this and says where to look; the operation itself goes on. */
export const OPERATION_WAIT_MS = 120_000;
/** Pause before an operation's event stream that broke is opened again. */
export const OPERATION_RETRY_MS = 250;
/** Items asked for per page of a list. */
export const LIST_PAGE_ITEMS = 100;

// --- local stack start-up ---

/** The whole start must end by then, or it says what it waits for. */
export const START_TIMEOUT_MS = 120_000;
/** Poll interval for conditions behind the API or the edge (a session that is live, a node that is online). */
export const CONDITION_POLL_MS = 100;
/** One probe request; longer than any healthy answer, short enough to try again. */
export const PROBE_TIMEOUT_MS = 2_000;
