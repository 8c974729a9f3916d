import type { BrokerLimits } from "../core/types.ts";
import type { SlabLimits } from "../../shared/slabs.node.ts";
import { FIRST_BYTE_MS, IDLE_MS, IDLE_SOCKET_MS, SEND_LIMITS } from "../limits.ts";

/** Numbers of the Node host, each with its reason. Those that all hosts share are in src/relay/limits.ts. */

const KIB = 1024;
const MIB = 1024 * KIB;

export const SLABS: SlabLimits = {
  slabBytes: 72 * KIB, // sessions' messages are at most this long, with their frame headers
  kept: 64, // 4.5 MiB: more than this many sockets rarely send at the same moment
  smallBytes: 4 * KIB, // a whole slab costs more than a piece of the pool
};

/** Young garbage is collected each time that so much came in, which leaves twice as much: what Node read and what `ws` made a message of. */
export const COLLECT_EVERY_BYTES = 4 * MIB;

/** Bytes that `ws` has not written yet above which a connector's socket is not given more: a short queue keeps small requests quick (performance.md, lever 6). */
export const CONNECTOR_HIGH_WATER_BYTES = 64 * KIB;
/** What waits for a visitor's WebSocket before the target is made to wait. */
export const WS_HIGH_WATER_BYTES = 256 * KIB;
/** Longest message of a visitor's WebSocket: it is put together in memory. As in a lane's HELLO. */
const WS_MESSAGE_BYTES = 8 * MIB;

/** Of all visitors together, of messages whose end has not come: eight of the longest at a time. Senders that stop in the middle would fill the memory. */
export const WS_UNFINISHED_BYTES = 8 * WS_MESSAGE_BYTES;

/** Bytes of a request kept so that it can be offered to the other lane: the broker keeps as many for another connector. */
export const REPLAY_BYTES = 64 * KIB;
/** A body or answer beyond this is bulk: small requests are sent by the other lane meanwhile. */
export const BULK_BYTES = 256 * KIB;

/**
 * Default of `memoryBudgetMiB`: unread answers of all tenants together. One that is read as fast as it comes may have a quarter: the 16 MiB
 * that 100 MB/s need at a round trip of 100 ms. Those that stand still stay at their first window.
 */
export const MEMORY_BUDGET_MIB = 64;

/** How often the configuration and the files that it names are looked at. Revocation has to work within 2 s. */
export const CONFIG_POLL_MS = 500;
/** Longest configuration: a thousand tenants are about 1 MiB. */
export const CONFIG_BYTES_MAX = 16 * MIB;

/** Default of `drainSeconds`: below the 30 s after which orchestrators kill. */
export const DRAIN_SECONDS = 25;
/**
 * A process that drains says 503 on /readyz and goes on taking requests until its load balancer has seen that: at least so long, then until
 * none has come for QUIET, but no longer than MAX, since clients without a load balancer never stop.
 */
export const DRAIN_SETTLE_MS = 1_000;
export const DRAIN_QUIET_MS = 500;
export const DRAIN_SETTLE_MAX_MS = 10_000;
/** Longest grace, as of a lane's drain. */
export const DRAIN_SECONDS_MAX = 3_600;

/** An access-log line waits at most this long, so that many leave in one write. */
export const LOG_FLUSH_MS = 100;
export const LOG_FLUSH_CHARS = 32 * KIB;

/** A peer that does not take the connection in this time is not there. */
export const PEER_CONNECT_MS = 2_000;
/** A peer gets this much longer for a request than it takes to end it by itself: then it stands still, and its host still takes connections. */
export const PEER_SPARE_MS = 5_000;
/** Connections to the peer that wait to be used again. */
export const PEER_IDLE_SOCKETS = 64;

/** Said to visitors and connectors while the process or a tenant is at its limit. */
export const RETRY_AFTER_SECONDS = 5;

/**
 * Connections to one address: 10,000 connectors with a socket for each lane, and as many visitors; about 10 KiB each while idle. Below what a
 * service's LimitNOFILE=65536 lets be open.
 */
export const CONNECTIONS_MAX = 40_000;
/** Dials that are proved at the same time. Signatures are checked in the four threads of Node's pool; a few more keep them busy. */
export const ADMISSIONS_AT_ONCE = 8;
/** The longest that a dial waits for its turn, well within the connectors' 10 s; whoever would wait longer is told to come later. */
export const ADMISSION_WAIT_MS = 3_000;
/** Dials that wait, however fast they are admitted: their connections hold memory. */
export const ADMISSIONS_WAITING_MAX = 4_096;
/** The latest time that a dial is sent away to: a fleet of 10,000 is back by then on a slow machine. */
export const RETRY_AFTER_MAX_SECONDS = 20;

/** Requests and WebSockets under way of one tenant at one lane: a process has no isolate's 128 MB, but each costs its 16 KiB window. */
const IN_FLIGHT_MAX = 4_000;
/** Of one tenant at one lane: a fleet of connectors with a socket each. */
const SOCKETS_MAX = 512;

/** Of a tenant's requests on their way to connectors, shared: one may have a sixteenth, which keeps a socket busy. */
const SEND_SHARED_BYTES = 32 * MIB;

/** What each broker of this process works with. The memory budget is one for all of them. */
export const brokerLimits = (budgetBytes: number): BrokerLimits => ({
  session: {
    messageBytes: MIB,
    /** To begin with, and what 200 stalled visitors cost 25 MiB with; it doubles while the visitor's connection takes more. */
    streamWindowBytes: 128 * KIB,
    /** Never the bottleneck: the budget holds the streams' own windows down. This only stops a connector that cheats. */
    sessionWindowBytes: 2 * budgetBytes + IN_FLIGHT_MAX * 16 * KIB,
    streams: 0,
    wsMessageBytes: WS_MESSAGE_BYTES,
  },
  send: SEND_LIMITS,
  /** 100 MB/s at a round trip of 100 ms are 10 MB under way. */
  streamWindowMaxBytes: 16 * MIB,
  carrierHighWaterBytes: CONNECTOR_HIGH_WATER_BYTES,
  socketsMax: SOCKETS_MAX,
  inFlightMax: IN_FLIGHT_MAX,
  accountedBytesMax:
    budgetBytes +
    IN_FLIGHT_MAX * 20 * KIB + // what each request may always hold, both ways
    SOCKETS_MAX * (CONNECTOR_HIGH_WATER_BYTES + SEND_LIMITS.messageBytes + SEND_LIMITS.aloneFrameBytes) +
    SEND_SHARED_BYTES,
  firstByteMs: FIRST_BYTE_MS,
  idleMs: IDLE_MS,
  idleSocketMs: IDLE_SOCKET_MS,
});

/** What this end says of itself in HELLO and traces. */
export const SOFTWARE = "causeway-relay-node";
