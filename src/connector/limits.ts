import type { SendLimits, SessionLimits } from "../protocol/tunnel/session.ts";
import type { SlabLimits } from "../shared/slabs.node.ts";

/** Every number of the connector, with its reason. */

// --- what the relay may send us (announced in HELLO) ---

const MIB = 1024 * 1024;

export const SESSION_LIMITS: SessionLimits = {
  /** Enough to batch well; a longer message would make everything behind it wait. */
  messageBytes: 256 * 1024,
  /**
   * What a body may be ahead of its target at first; each new stream has it at once, whatever the budget says. 1,000 stalled ones, as many
   * as a lane lets be under way, hold 128 MiB.
   */
  streamWindowBytes: 128 * 1024,
  /** Never the bottleneck: what streams may hold is bounded by their own windows. */
  sessionWindowBytes: 128 * MIB,
  /** Far above what two cores can serve at once, low enough that each can have a socket to its target. */
  streams: 4096,
  /** The usual limit of WebSocket servers for one message is 1 to 100 MiB; it is put together in memory. */
  wsMessageBytes: 16 * MIB,
};

/** To which a body's window grows while its target reads: 100 MB/s at a round trip of 100 ms. The budget below bounds what all of them have. */
export const STREAM_WINDOW_MAX_BYTES = 16 * MIB;

/** Bytes that relays may have sent us and targets have not taken, over all lanes: what the process may hold on top of its code. */
export const RECEIVE_BUDGET_BYTES = 64 * MIB;

// --- how we send ---

/** Short queues keep tiny answers quick beside bulk ones; measured best on Node: 16 KiB frames, 64 KiB messages, 64 KiB high water. */
export const SEND_LIMITS: SendLimits = {
  messageBytes: 64 * 1024,
  contendedFrameBytes: 16 * 1024,
  aloneFrameBytes: 64 * 1024,
  /** Two messages of one stream wait at most, so that its target is paused soon. */
  streamQueueBytes: 128 * 1024,
};
/** Bytes in the socket's own queue before we stop filling it: what is there can't be reordered any more. */
export const SOCKET_HIGH_WATER_BYTES = 64 * 1024;
/** Messages that one turn of the event loop sends, while the system takes them: what has come meanwhile waits for half a MiB at most. */
export const MESSAGES_A_TURN = 8;
/** Young garbage is collected each time that so much went out or came in. */
export const COLLECT_EVERY_BYTES = 4 * MIB;
/** A message of at least this is masked where it is. Below it a copy, with its header in one buffer, is cheaper. */
export const MASKED_IN_PLACE_BYTES = 4 * 1024;
export const SLABS: SlabLimits = {
  slabBytes: 2 * 64 * 1024 + 1024, // one message and one frame that goes beyond it
  kept: 2 * MESSAGES_A_TURN, // of both lanes: who sends needs all of its turn's before the first comes back
  smallBytes: 4 * 1024, // a whole slab costs more than a piece of the pool
};

// --- links ---

/** TCP, proxy, TLS and upgrade together. Longer than a slow proxy needs. */
export const DIAL_TIMEOUT_MS = 10_000;
/** TCP alone, of a direct connection: a first packet that was lost is sent again after 1 and 3 s; with the network back, a new dial is sooner there. */
export const TCP_CONNECT_TIMEOUT_MS = 5_000;
/**
 * Of it for one address while the name has more of them: Node's 250 ms are over before a first packet that was lost is sent again (1 s), and
 * before anything comes back over a satellite; then it takes the next address, which often is one of a family without a way.
 */
export const ADDRESS_TIMEOUT_MS = 2_000;
/** The relay's HELLO comes with the upgrade; without it the socket is of no use. */
export const HELLO_TIMEOUT_MS = 10_000;
/** First pause after a loss is a random part of this. */
export const BACKOFF_BASE_MS = 250;
/** With full jitter 99 % of the pauses are below this: back within 10 s after the network returns, 10,000 connectors spread over it. */
export const BACKOFF_CAP_MS = 8_000;
/** A link that stood this long was well: its next loss starts with the first pause again. */
export const STABLE_AFTER_MS = 5_000;
/**
 * After such a loss pauses stay below twice the base for so long: a relay that was killed or deployed is back within a second or a few, and
 * meanwhile dials are refused for next to nothing. One that is overloaded asks for its pause with Retry-After.
 */
export const RESTART_PATIENCE_MS = 5_000;
/** The longest Retry-After that we follow; more would leave a site offline for a mistake. */
export const RETRY_AFTER_CAP_MS = 300_000;
/**
 * A refused credential is shown again after pauses of up to this, doubling: a key that was just registered reaches the lanes within seconds.
 * Later seldom enough to bother nobody, often enough that a connector that was unlocked is back within a minute.
 */
export const REFUSED_RETRY_MS = 2_000;
export const REFUSED_RETRY_MAX_MS = 60_000;
/** A connector that never was online gives up when a lane has refused it so often, after 3 to 6 s: its credential is wrong, not early. */
export const STARTUP_REFUSALS = 3;
/** Bytes of a refusal's body that are read for its reason. */
export const REFUSAL_BODY_BYTES = 8 * 1024;

/** Middleboxes cut silent sockets at 60 to 100 s; WebSocket pings this often prevent it and wake no object. */
export const KEEP_ALIVE_INTERVAL_MS = 25_000;
/** An idle link's data path is proved this often: each echo wakes the lane's object. */
export const ECHO_IDLE_INTERVAL_MS = 60_000;
/** With streams open the object is awake anyway: silence is asked about sooner. */
export const ECHO_BUSY_INTERVAL_MS = 5_000;
/** Nothing came for so long after it was asked for: the link is dead, whatever TCP says. A busy relay needs a few seconds at most. */
export const ECHO_TIMEOUT_MS = 20_000;
/** How often the heartbeat looks. Well below the times above. */
export const HEARTBEAT_TICK_MS = 1_000;

/** A keep-alive pushed from the control plane is not followed below this: a fleet would keep its lanes awake. */
export const KEEP_ALIVE_MIN_MS = 2_000;
/** How often the machine's addresses and clocks are looked at: a changed network is noticed within this. */
export const NETWORK_POLL_MS = 2_000;
/** Clocks that drift apart by more than this between two looks were set, or the machine slept. */
export const CLOCK_JUMP_MS = 10_000;
/** After a change of network or a sleep a link has so long to carry an echo. Longer than any round trip, far below the heartbeat's time. */
export const PROOF_TIMEOUT_MS = 4_000;
/** Dials that were waiting when the network changed start within this, not in the same instant. */
export const HURRY_SPREAD_MS = 1_000;

// --- tokens and control endpoints ---

/** Bytes of an answer that are read from a token or discovery endpoint. */
export const ANSWER_BYTES = 64 * 1024;
/** A token is renewed in the part of its life between this and half of the rest: early enough for many tries. */
export const TOKEN_RENEW_AT = 0.6;
/** Not sooner than this after the last one, whatever the issuer says, and not later than a timer can wait. */
export const TOKEN_RENEW_MIN_MS = 1_000;
export const TOKEN_RENEW_LATEST_MS = 24 * 3600 * 1000;
/** A token with less left is not dialled with. */
export const TOKEN_SPARE_MS = 1_000;
/** A token that is refused so soon after it was given was never good: another one would not be either. */
export const TOKEN_FRESH_MS = 5_000;
/** Pauses after a renewal that failed. */
export const TOKEN_RETRY = { baseMs: 2_000, capMs: 60_000 };
/** How often a token file is looked at for a new token. */
export const TOKEN_FILE_POLL_MS = 2_000;
/** Between two questions whether a member has accepted the pairing. */
export const PAIRING_POLL_MS = 2_000;

// --- reports ---

/** How often load is measured; at most one report of it each time. */
export const LOAD_POLL_MS = 2_000;
/** A smaller change of load is not worth a frame, which wakes a sleeping lane. */
export const LOAD_STEP = 0.2;
/** Health is told at once, but a flapping check not more often than this. */
export const REPORT_MIN_INTERVAL_MS = 250;

// --- audit ---

/** Audit lines are written together after this long: one write a line would cost a tenth of a small request. */
export const AUDIT_FLUSH_MS = 100;
/** Or when so many wait. */
export const AUDIT_BATCH_LINES = 500;

// --- ends ---

/** The longest that one timer of the runtime can wait. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Open streams may finish for this long after SIGTERM; below the 30 s that orchestrators give. */
export const DRAIN_TIMEOUT_MS = 25_000;
/** The closing handshake of a socket; then it is cut. */
export const CLOSE_TIMEOUT_MS = 1_000;
/** How often a draining socket is asked whether its last stream has ended. */
export const DRAIN_POLL_MS = 20;
/** The same Ctrl-C often arrives twice, from the terminal and from a starter such as npm; a later one means "now". */
export const SECOND_SIGNAL_AFTER_MS = 750;

// --- configuration ---

/** How often the configuration file is looked at. A change is taken within this; watching by events misses replaced links (Kubernetes). */
export const CONFIG_POLL_MS = 1_000;
/** A target that was removed from the configuration still takes what the relay sent before it heard of it: a slow link's round trip. */
export const REMOVED_TARGET_MS = 2_000;

// --- targets ---

/** TCP and TLS to a target: it is near, so more is a fault. */
export const TARGET_CONNECT_TIMEOUT_MS = 5_000;
/** Answer of a target when neither its own timeout nor the request's deadline says less. */
export const TARGET_ANSWER_TIMEOUT_MS = 300_000;
/** Response head of a target; the protocol's own bound for a head. */
export const TARGET_HEAD_BYTES = 128 * 1024;
/** A WebSocket message from a target; the relay's own limit may be lower. */
export const TARGET_WS_MESSAGE_BYTES = 16 * MIB;
/** Sockets to one target: all streams of both lanes, since a bound here would let event streams starve everything else. */
export const TARGET_SOCKETS = 2 * 4096;
/** Redirects of a target that are followed when that is wanted, and the most that may be asked for: the browsers' 20 are far too patient. */
export const FOLLOWED_REDIRECTS = 5;
export const FOLLOWED_REDIRECTS_MAX = 20;
/** Body of a redirect that is read to keep its connection; a longer one costs the connection. */
export const REDIRECT_BODY_BYTES = 64 * 1024;
/** Health checks: soon enough that a dead target is avoided, seldom enough that its log stays readable. */
export const HEALTH_INTERVAL_MS = 10_000;
export const HEALTH_TIMEOUT_MS = 3_000;
/** One lost check is chance, three are not; back needs two, so that a target that restarts in a loop is not used in between. */
export const UNHEALTHY_AFTER = 3;
export const HEALTHY_AFTER = 2;
/** How often a target's certificate, key and password files are looked at, as the configuration file's. */
export const TARGET_FILES_POLL_MS = 5_000;
/** A target whose certificate changed keeps old connections for requests that still run on them. */
export const TARGET_RETIRE_MS = 24 * 3_600_000;
/** Bytes of an answer in one exchange after which it is bulk and goes through blocks that are used again; before that, reads of at least BULK_READ_BYTES. */
export const BULK_AFTER_BYTES = 64 * 1024;
export const BULK_READ_BYTES = 16 * 1024;
/** Such a block: one read of a target. A stream that stands still has one or two. */
export const BULK_BLOCK_BYTES = 64 * 1024;
/** Blocks that wait to be used again (4 MiB): a few for each of the streams that move at one time. */
export const BULK_BLOCKS_KEPT = 64;
/** Targets of one connector: the protocol's bound. */
export const TARGETS_MAX = 256;

// --- at a site ---

/** Processes that share one credentials file on one machine; more than cores would be a start-up loop gone wrong. */
export const INSTANCES_PER_FILE = 64;
