/**
 * The tunnel's session as its two hosts see it: the relay's lane (a Durable Object) and the connector (Node). docs/protocol.md is the
 * contract on the wire. The session does no IO and owns no timer: the host hands in what the socket received, takes out what it must
 * send, and asks the clock. Every event is delivered synchronously, from inside the call that caused it.
 */

/** Name and value of each header field, in order, duplicates kept. Names as they came; compare them case-insensitively. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** Why a stream ended before both sides had finished. The wire has one byte for each (reasons.ts). */
export type ResetReason =
  /** The one that asked no longer wants it. */
  | "cancelled"
  /** No answer within the deadline of the OPEN. */
  | "deadline-exceeded"
  /** The stream made no progress for too long although it could have. */
  | "stalled"
  /** A limit of the sender of the RESET was reached while the stream ran. */
  | "overload"
  /** Nothing of the request was handed on; it may be tried elsewhere. */
  | "refused-before-start"
  /** The connector does not serve this target. Nothing was started. */
  | "unknown-target"
  /** The frames or the request broke a rule of the protocol; the stream ends, the session goes on. */
  | "protocol"
  | "internal"
  | "body-too-large"
  | "target-refused"
  | "target-unresolved"
  | "target-timeout"
  | "target-tls"
  | "target-reset"
  /** Never on the wire: the socket went away, or the peer lost its streams (RESYNC). */
  | "session-lost";

/** How a stream ended. `by`: who ended it; "session" comes with reason "session-lost" only. */
export type StreamOutcome =
  | { readonly kind: "finished" }
  | {
      readonly kind: "reset";
      readonly by: "local" | "peer" | "session";
      readonly reason: ResetReason;
      readonly text: string;
    };

/** What the relay asks a connector for. */
export interface OpenRequest {
  readonly target: string;
  readonly method: string;
  /** Path and query exactly as they came, starting with "/". */
  readonly path: string;
  readonly headers: HeaderList;
  /** True: the request has no body; the opener's side is ended at once. Must be false with `upgrade`. */
  readonly end: boolean;
  /** "websocket": an answer with status 101 turns the stream into one of messages; any other answer is an ordinary one. */
  readonly upgrade: "websocket" | null;
  /**
   * What the relay gives for the final head, in milliseconds, counted anew while the request's body makes progress; 0 = no limit. A connector
   * never starts work after it.
   */
  readonly deadlineMs: number;
  /** 0 (first) to 7 (last) as in RFC 9218; 3 is the default. Both sides schedule the stream's bytes by it. */
  readonly urgency: number;
}

export interface ResponseHead {
  /** 101 and 103 and the like come before the final one (200-599); 101 is final for an upgrade. */
  readonly status: number;
  readonly headers: HeaderList;
}

/** One whole WebSocket message of the tunnelled socket (reassembled; at most `wsMessageBytes` of the receiver's limits). */
export interface TunnelledMessage {
  /** "text": `data` is UTF-8. */
  readonly kind: "text" | "binary";
  readonly data: Uint8Array;
  /** What to pass to `consumed` once the message has been handed on. (Less than the length when it came in several frames.) */
  readonly creditBytes: number;
}

/**
 * What happens on one stream. Bytes in `data` are views of the received message: they stay valid (nobody overwrites them), but copy them
 * before giving them to something that detaches buffers, such as a byte ReadableStream.
 */
export interface StreamEvents {
  /** Relay only. Interim heads (1xx except an upgrade's 101) may come first, any number; then exactly one final head. */
  head?(head: ResponseHead): void;
  /** Body bytes. Grant credit with `consumed` when they have been taken downstream, never on arrival. */
  data?(bytes: Uint8Array): void;
  /** Upgraded streams only. */
  message?(message: TunnelledMessage): void;
  /** Upgraded streams only: the peer's WebSocket closed. 1005 = closed without a code, 1006 = went away without closing. */
  messageClose?(code: number, reason: string): void;
  /** The peer's body is complete. Not called for upgraded streams (see messageClose). */
  end?(trailers: HeaderList): void;
  /** Called after a `write`, `sendMessage` or `writable` that answered 0 or less, once there is room again. */
  writable?(): void;
  /** Exactly once for every stream, the last event of it. Also for a reset of our own (from inside `reset`). */
  closed?(outcome: StreamOutcome): void;
}

/** One request and its answer. Calls on a closed stream do nothing, except `consumed` and `reset` on a finished one: they still free session credit. */
export interface Stream {
  /** Unique in the session until a RESYNC; use the object, not the id, as the key. */
  readonly id: number;
  readonly closed: boolean;
  /** How many bytes should be written now: room in the stream's queue and credit. 0 or less: wait for `writable`. */
  readonly writable: number;
  /** Bytes received and not yet reported as consumed. */
  readonly heldBytes: number;
  /** Bytes queued here and not yet in a message. */
  readonly queuedBytes: number;
  /** Time of the last frame in either direction, by the session's clock. */
  readonly lastProgressMs: number;

  /** Connector only: an interim head (status 100-199, not 101). */
  interim(head: ResponseHead): void;
  /** Connector only: the final head, once. `end`: no body follows (HEAD, 204, 304, empty). 101 accepts an upgrade. */
  respond(head: ResponseHead, end: boolean): void;
  /**
   * Queues body bytes; they are sent as credit allows. Answers like `writable` does afterwards: at 0 or less stop until `writable` is
   * called (one chunk too much is fine, ignoring it is not). The bytes are kept, not copied: don't change them until they have been sent.
   */
  write(bytes: Uint8Array): number;
  /** Ends our body. END travels with the last bytes when they are still here. */
  end(trailers?: HeaderList): void;
  /** Queues one WebSocket message (text as UTF-8), split into frames as credit allows. Answers like `write`. */
  sendMessage(kind: "text" | "binary", data: Uint8Array): number;
  /** Our WebSocket closed: 1000-4999, 1005 without a code, 1006 without a close. Ends our direction. The reason is cut at 123 bytes. */
  sendMessageClose(code: number, reason: string): void;
  /** Grants the peer as many new bytes as were taken downstream. */
  consumed(bytes: number): void;
  /**
   * Connector: our answer is complete (`end` was called) and the rest of the request's body is not wanted. Both sides' streams finish
   * normally after our last byte. Before `end` it does nothing.
   */
  stopReceiving(): void;
  /**
   * Ends the stream at once in both directions; queued bytes are dropped. `text` is for people (at most 256 bytes are sent), no secrets.
   * On a finished stream it only gives up the bytes that are still held: call it when a slow reader goes away.
   */
  reset(reason: Exclude<ResetReason, "session-lost">, text: string): void;
}

/** Limits that a side announces in its HELLO. The peer obeys them; defaults for each host are in its own limits.ts. */
export interface SessionLimits {
  /** Longest message that we accept; 256 KiB to 1 MiB. */
  readonly messageBytes: number;
  /** What one stream may have sent to us and we have not yet taken downstream. 16 KiB to 16 MiB. */
  readonly streamWindowBytes: number;
  /**
   * The same over all streams of the session, at least streamWindowBytes. Half of it is kept for streams that move, beyond this number if
   * stalled ones hold the rest, so memory is bounded by the sum of the streams' windows.
   */
  readonly sessionWindowBytes: number;
  /** Streams that the peer may have open at us at once. */
  readonly streams: number;
  /** Longest tunnelled WebSocket message that we put together; longer ones end their stream with "body-too-large". */
  readonly wsMessageBytes: number;
}

/** How we pack what we send; our own affair, not announced. */
export interface SendLimits {
  /** A message is closed when it has this many bytes (one frame may go beyond, never beyond the peer's messageBytes). */
  readonly messageBytes: number;
  /** DATA of one stream at a time while others wait, and when it is alone. */
  readonly contendedFrameBytes: number;
  readonly aloneFrameBytes: number;
  /** Bytes that one stream queues before `writable` turns 0. */
  readonly streamQueueBytes: number;
}

/** Who the peer is, from its HELLO. Strings are length-checked, not trusted: the relay takes identity from the verified assertion. */
export interface PeerHello {
  readonly version: number;
  readonly features: readonly string[];
  readonly limits: SessionLimits;
  /** Connector -> relay: its instance id (stable over reconnects of one process) and the targets it serves. Relay -> connector: empty. */
  readonly instanceId: string;
  readonly targets: readonly string[];
  /** Relay -> connector: id of this socket's session. Connector -> relay: empty. */
  readonly sessionId: string;
  /** Name and version of the software, for people. */
  readonly software: string;
}

export interface SessionFailure {
  /** Code to close the WebSocket with (close-codes.ts). */
  readonly closeCode: number;
  readonly reason: string;
}

export interface GoAway {
  /** Milliseconds that open streams still have. */
  readonly graceMs: number;
  /** When the connector should dial again at the earliest and at the latest; it picks a random moment between. */
  readonly reconnectMinMs: number;
  readonly reconnectMaxMs: number;
  readonly reason: string;
}

/** How a connector is. Sent when it changes; the relay avoids what is unhealthy and prefers what is idle. */
export interface ConnectorReport {
  readonly load: number;
  readonly unhealthy: readonly string[];
}

/** Settings for a live connector. */
export interface PushedConfig {
  readonly revision: number;
  /** Of the targets, as JSON; null: the connector's own files only. */
  readonly targetsJson: string | null;
  readonly keepAliveMs: number | null;
  readonly reconnectMaxMs: number | null;
  /** Milliseconds until the connector has to leave by itself; null: never. */
  readonly leaveInMs: number | null;
}

export interface ConfigAck {
  readonly revision: number;
  readonly ok: boolean;
  /** For people, when it is not ok. No secrets. */
  readonly reason: string;
}

export interface SessionEvents {
  /** Something is waiting to be sent (called once until it has all been taken). Schedule one flush: `setImmediate`, not a microtask. */
  flushNeeded(): void;
  /** The peer's HELLO came; streams may be opened from now on. */
  hello?(peer: PeerHello): void;
  /** Connector only: a new stream. Returns its events. The request's body follows as events, unless `request.end`. */
  open?(stream: Stream, request: OpenRequest): StreamEvents;
  /** Relay only: the connector serves these targets from now on. */
  targets?(targets: readonly string[]): void;
  /** Relay only: how the connector is (REPORT): targets that are announced but fail their health check, and its load from 0 to 1. */
  report?(report: ConnectorReport): void;
  /** Relay only: a new token in band (TOKEN). Answer with `tokenAccepted` or close. */
  token?(token: string): void;
  /** Connector only: the token is good until then (TOKEN_OK), by the relay's clock as a span from now. */
  tokenAccepted?(lifetimeMs: number): void;
  /** Connector only: settings were pushed (CONFIG). Answer with `acknowledgeConfig` when they are in force or refused. */
  config?(config: PushedConfig): void;
  /** Relay only: the connector applied or refused what was pushed (CONFIG_ACK). */
  configAcknowledged?(ack: ConfigAck): void;
  /** Connector only: another socket of the same instance took this one's place. Don't dial again for it. */
  replaced?(reason: string): void;
  /** Relay -> connector: no new streams come; dial anew, finish the open ones, then close. */
  goAway?(notice: GoAway): void;
  /** Connector -> relay: it takes no new streams and finishes the open ones. */
  draining?(reason: string): void;
  /** The answer to a ping of ours. */
  pong?(rttMs: number): void;
  /** The peer broke the protocol: every stream was closed with "session-lost". Send nothing more, close the socket with this code. */
  failed(failure: SessionFailure): void;
}

export interface SessionOptions {
  readonly role: "relay" | "connector";
  /** Milliseconds; only differences count. */
  readonly now: () => number;
  readonly limits: SessionLimits;
  readonly send: SendLimits;
  readonly identity: {
    /** Connector only, else "". At most 64 bytes. */
    readonly instanceId: string;
    readonly targets: readonly string[];
    /** Relay only, else "". */
    readonly sessionId: string;
    readonly software: string;
  };
  readonly events: SessionEvents;
  /** Shared by all sessions of the process: stream windows shrink, down to 16 KiB, as it fills. Default: one of its own of sessionWindowBytes and wsMessageBytes. */
  readonly budget?: ByteBudget;
  /**
   * To which a stream's window grows from limits.streamWindowBytes, while it is read faster than it holds two round trips and the budget has
   * room: at most a quarter of what is left. Default: no growth. With growth the session measures the round trip by itself (PING).
   */
  readonly streamWindowMaxBytes?: number;
  /** Where messages are built, at least `bytes` long; for hosts that pool. Default: a new array each. */
  readonly allocate?: (bytes: number) => Uint8Array;
  /** Relay only: the object slept; the socket is old. No HELLO is exchanged again, a RESYNC goes out before the first stream. */
  readonly restored?: PeerHello;
}

/** A shared account of what peers may have sent to us and we have not yet taken downstream. Start `committedBytes` at 0. */
export interface ByteBudget {
  readonly totalBytes: number;
  committedBytes: number;
}

export type OpenRefusal =
  /** The peer's stream limit, or ids are used up. */
  | { readonly reason: "too-many-streams" }
  /** No HELLO yet, draining, or closed. */
  | { readonly reason: "not-open" }
  /** The request can't be sent: a header over 65,535 bytes, more than 128 KiB of head, or a name, method or path that is not sendable. */
  | { readonly reason: "not-sendable"; readonly text: string };

export type OpenResult =
  | { readonly ok: true; readonly stream: Stream }
  | { readonly ok: false; readonly error: OpenRefusal };

/**
 * One socket's session. State: "greeting" until the peer's HELLO came, "open", "draining" (no new streams), "closed".
 * The first thing that a session sends is its HELLO: it is there to be taken right after creation.
 */
export interface Session {
  readonly state: "greeting" | "open" | "draining" | "closed";
  readonly peer: PeerHello | null;
  readonly openStreams: number;
  /** Of the last answered ping; null before. */
  readonly rttMs: number | null;
  /** The least of those of the last 15 s or more, in which the way counts and not what waited on it; null before. */
  readonly leastRttMs: number | null;
  /** When a message last came, by the session's clock (creation counts). */
  readonly lastReceivedMs: number;
  /** Streams that are open now, for sweeps over their timers. */
  streams(): Iterable<Stream>;

  /** One whole binary message of the socket. Never throws; what breaks the protocol ends in `failed`. */
  receive(message: Uint8Array): void;
  /** The next message to send, or null when nothing is waiting (or only bytes without credit). */
  takeMessage(): Uint8Array | null;

  /** Relay only. OPEN and what is written in the same turn leave in one message. */
  open(request: OpenRequest, events: StreamEvents): OpenResult;
  /** Connector only: the whole list, each time it changes. */
  announceTargets(targets: readonly string[]): void;
  /** Connector only: load and health, each time they change. */
  report(report: ConnectorReport): void;
  /** Connector only: a new token before the old one runs out. False: not a bearer token (RFC 6750) or beyond 16 KiB; nothing was sent. */
  renewToken(token: string): boolean;
  /** Relay only: the answer to `token`. */
  tokenAccepted(lifetimeMs: number): void;
  /** Relay only. False: beyond 128 KiB as JSON; nothing was sent. */
  pushConfig(config: PushedConfig): boolean;
  /** Connector only. */
  acknowledgeConfig(ack: ConfigAck): void;
  /** Echo through the data path; answered by `pong`. At most one is under way, further calls do nothing. True if a ping was queued. */
  ping(): boolean;
  /** Relay: GOAWAY. */
  goAway(notice: GoAway): void;
  /** Connector: DRAIN. New OPENs are refused with "refused-before-start" from here on. */
  drain(reason: string): void;
  /** Relay: tells the connector that a newer socket of the same instance took over. Close with 4409 after the flush. */
  replaced(reason: string): void;
  /** The socket is gone, or we close it: every stream ends with "session-lost". Nothing happens on a second call. */
  lost(text: string): void;
}
