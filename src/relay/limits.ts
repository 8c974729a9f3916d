import type { SendLimits, SessionLimits } from "../protocol/tunnel/session.ts";
import type { BrokerLimits } from "./core/types.ts";

/** Every number of the lanes and node channels, with its reason. Bounds of the protocol itself are in protocol/tunnel/limits.ts. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** What a lane accepts from a connector (announced in HELLO). */
export const SESSION_LIMITS: SessionLimits = {
  messageBytes: MIB,
  /** One stream moves this much a round trip: 1 MiB measured best on workerd; more only with a measured bandwidth-delay product. */
  streamWindowBytes: MIB,
  /** Never the bottleneck: streams' own windows are held down by RECEIVE_BUDGET_BYTES; this only stops a connector that cheats. */
  sessionWindowBytes: 48 * MIB,
  /** Connectors open no streams. */
  streams: 0,
  /** Must be put together in memory before a visitor's socket gets it. */
  wsMessageBytes: 8 * MIB,
};

export const SEND_LIMITS: SendLimits = {
  /** Longer messages make small requests wait behind bulk; shorter ones cost events. */
  messageBytes: 64 * KIB,
  contendedFrameBytes: 16 * KIB,
  aloneFrameBytes: 64 * KIB,
  /** One flush takes a message; a little more keeps the next one full. */
  streamQueueBytes: 128 * KIB,
};

/**
 * With fewer requests under way than this, a lane sends at the end of the event instead of after the loop's turn. Measured on bare workerd:
 * one connection 2.8 -> 1.0 ms and a quarter less CPU, no difference from 4 connections on.
 */
export const FLUSH_AT_ONCE_BELOW = 4;

/**
 * What an object accounts for at most: unread answers, requests' heads and bodies, what waits to be sent. An isolate has 128 MB, which the
 * code and the runtime's own buffers share, and it may host several objects.
 */
const ACCOUNTED_BYTES_MAX = 48 * MIB;
/**
 * Of these, for unread answers. 1,000 requests have 16 KiB each on top, however full it is, so 37.6 MiB in all; requests on their way to
 * connectors have the rest.
 */
export const RECEIVE_BUDGET_BYTES = 22 * MIB;
/** To which a stream's window grows while its visitor reads: 25 MB/s at 100 ms need 2.5 MB, and the measurement lags behind. */
const STREAM_WINDOW_BYTES_MAX = 4 * MIB;
/** What one request may always have on its way to a connector, however many others stand still; the rest is shared. */
export const SEND_LEAST_BYTES = 4 * KIB;
/** One request gets at most this part of what is left for sending, so that many stalled ones leave room for the next. */
export const SEND_SHARE = 16;

/** Of one tenant at one lane. */
export const SOCKETS_MAX = 64;
/** Requests under way at one lane: each costs some KiB beside its window. A WebSocket counts as two, for the messages that it puts together. */
export const IN_FLIGHT_MAX = 1_000;

/** Connectors that one request is offered to, at most: each may cost a round trip. */
export const ATTEMPTS_MAX = 3;
/** Loads (0 to 1) that connectors report of themselves and that differ by less are the same: reports are seconds old. */
export const LOAD_DIFFERENCE = 0.25;
/**
 * Of connectors that have the same work, one whose round trip is longer by both of these is left to rest. What differs less than that no
 * visitor feels, and it is mostly chance: connectors of one site share evenly.
 */
export const FARTHER_FACTOR = 2;
export const FARTHER_MS = 20;

/** Addresses of visitors whose rate is remembered: some 100 bytes each. The one that was silent for longest is forgotten first. */
export const VISITORS_MAX = 10_000;
/** Said with 429 when too many requests run: one of them has probably ended by then. */
export const BUSY_RETRY_AFTER_SECONDS = 1;

/** A connector that dialled says HELLO at once. */
export const HELLO_TIMEOUT_MS = 10_000;
/**
 * Default of the setting FIRST_BYTE_SECONDS: until the final head, counted from the last progress of the request. Below the edge's 60 s, so
 * that the visitor gets the error that names the target.
 */
export const FIRST_BYTE_MS = 50_000;
/** A visitor that takes nothing of what waits for it. Long enough for a paused download to be taken up again. */
export const STALLED_MS = 300_000;
/**
 * Default of the setting IDLE_SECONDS: an answer that has begun, and nothing moves in either direction. The runtime tells of a visitor who
 * left at the next write only, so a silent stream without one would stay for ever. Event streams send something every 15 to 60 s as a rule;
 * an hour spares those that don't, and whoever is cut reconnects.
 */
export const IDLE_MS = 3_600_000;
/** The same for WebSockets: their pings end at both ends and are never seen here, and a visitor who left is told by the socket's close, so this only catches what was forgotten. */
export const IDLE_SOCKET_MS = 24 * 3_600_000;
/** An answer is complete, but the connector neither takes the rest of the request nor says STOP. */
export const UNWANTED_UPLOAD_MS = 30_000;
/** How often deadlines are looked at while requests are under way; they are late by this much at most. */
export const SWEEP_MS = 500;
/**
 * An open socket with requests under way that says nothing for so long is asked by a PING, gets no new ones when it has not answered soon, and
 * is dropped when it stays silent after that. The first is what new requests run into when a connector stands still; it costs nothing, since a
 * connector with work asks for an echo by itself every 5 s.
 */
export const PING_AFTER_SILENCE_MS = 3_000;
export const SUSPECT_AFTER_PING_MS = 1_000;
export const DEAD_AFTER_PING_MS = 20_000;

/** The request body is read in pieces of this size: each read is a call into the runtime, and small pieces cost ten times the CPU. */
export const BODY_READ_BYTES = 64 * KIB;
/** An answer's bytes are handed to the visitor's side in pieces of up to this size, when so much is there. */
export const ANSWER_WRITE_BYTES = 256 * KIB;
/** The least that is read at a time, however little room there is. */
export const BODY_READ_LEAST_BYTES = 4 * KIB;
/** Of a request's body, so that it can be sent again to another connector. */
export const REPLAY_BYTES = 64 * KIB;

/** Interim heads (103 and the like) of one answer: a handful are real. No window holds them back, so endless ones would fill the memory of a lane whose visitor does not read. */
export const INTERIMS_MAX = 32;

/** What a visitor's WebSocket sent and the connector has not given credit for. There is no way to make a browser wait. */
export const WS_QUEUE_BYTES = 8 * MIB;
/** What waits for a visitor's WebSocket before the target is made to wait, where the platform tells. */
export const WS_HIGH_WATER_BYTES = 256 * KIB;
/** How often a full one is looked at: the platform has no drain event, and 20 ms of 256 KiB are 13 MB/s. */
export const WS_DRAIN_POLL_MS = 20;

/** A drained lane goes on taking requests for this long: the edge may have asked `accepts` for a body that it can't send twice. */
export const DRAIN_SETTLE_MS = 1_000;
/** Connectors may take so much longer than the lane, which looks twice in that time: it says why it cuts, before they cut without a word. */
export const DRAIN_LEAD_MS = 500;
/** Connectors that were asked to dial again spread over this, or over half of a shorter grace: a whole side is drained at once. */
export const DRAIN_RECONNECT_MS = 5_000;
/** Longest grace. What takes longer is a download or socket that will break at a deploy. */
export const DRAIN_GRACE_MAX_MS = 3_600_000;

/** Used assertions remembered at one time. One connector makes one each time it dials, and they are forgotten after two minutes. */
export const USED_ASSERTIONS_MAX = 4_096;
/** A removal is remembered longer than any message that could still bring an older revision (queues: 14 days). */
export const TOMBSTONE_MS = 30 * 24 * 3_600_000;

/** Said to visitors and connectors as Retry-After. A connector that lost its socket is back in about this time. */
export const RETRY_AFTER_SECONDS = 5;

/** Who may ask to be let in at one time while a pairing window is open. Somebody has to look at each. */
export const PAIRING_REQUESTS_MAX = 32;

/** Events of presence that wait for a queue that is away. */
export const PRESENCE_EVENTS_MAX = 4_096;
/** They are sent again after this, then after twice as long each time, at most after the other. */
export const PRESENCE_RETRY_MS = 5_000;
export const PRESENCE_RETRY_MAX_MS = 300_000;

/** What a Durable Object gives its broker. */
export const OBJECT_LIMITS: BrokerLimits = {
  session: SESSION_LIMITS,
  send: SEND_LIMITS,
  streamWindowMaxBytes: STREAM_WINDOW_BYTES_MAX,
  carrierHighWaterBytes: null,
  socketsMax: SOCKETS_MAX,
  inFlightMax: IN_FLIGHT_MAX,
  accountedBytesMax: ACCOUNTED_BYTES_MAX,
  firstByteMs: FIRST_BYTE_MS,
  idleMs: IDLE_MS,
  idleSocketMs: IDLE_SOCKET_MS,
};

// --- node channels ---

/** Longest message of an agent: a report with its reason is 3 KiB. */
export const AGENT_MESSAGE_CHARS = 64 * 1024;
/** Characters of tenants in one part of a snapshot: small enough to be sent between other things. A single tenant may be larger. */
export const SNAPSHOT_PART_CHARS = 256 * 1024;
/** Longest body of an enrolment: a token and a key. */
export const ENROL_BODY_BYTES = 4 * 1024;
/** Longest that a caller may wait for a tenant to settle: a queue consumer's step, well below its limit of 15 minutes. */
export const WAIT_MAX_MS = 60_000;
/** Tombstones of tenants that the node has let go. An agent that was away for longer gets a snapshot instead of changes. */
export const TOMBSTONES_MAX = 1_000;
/** Assertions are remembered for two minutes; an agent that dials more often than this in that time is refused. */
export const USED_NODE_ASSERTIONS_MAX = 1_000;

// --- admission ---

/** Access tokens of the token endpoint: short, since a copied one is good for as long. Connectors renew theirs in band. */
export const ACCESS_TOKEN_MS = 10 * 60_000;
/** RFC 7518, section 3.2: a key for HS256 has at least 256 bits. */
export const ACCESS_TOKEN_KEY_BYTES_MIN = 32;
/** Body of the token endpoint: a form with one assertion, or a token of an outside issuer. */
export const TOKEN_BODY_BYTES = 24 * KIB;
/** Body of a request to be let in: a name, a public key, a name of software. */
export const PAIR_BODY_BYTES = 4 * KIB;
/** Failed tries for a token by one address at one tenant a minute: a wrong secret in a file with two lanes and some restarts stays below. */
export const FAILED_TOKENS = { perWindow: 20, windowMs: 60_000, keysMax: 10_000 };
/** Requests to be let in, likewise. */
export const PAIR_ATTEMPTS = { perWindow: 20, windowMs: 60_000, keysMax: 10_000 };
