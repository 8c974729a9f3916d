import type { ConnectorGrant, ConnectorSession, LaneDrain, TenantSettings } from "../../protocol/lane.ts";
import type {
  ByteBudget,
  HeaderList,
  PeerHello,
  ResponseHead,
  SendLimits,
  SessionLimits,
} from "../../protocol/tunnel/session.ts";
import type { Logger } from "../../shared/log.ts";
import type { HoldMemory } from "./drain.ts";
import type { LaneFailure } from "./failures.ts";

/**
 * The lane's broker: one tenant's connectors at one lane, and the requests that visitors have for them. It chooses connectors, waits,
 * tries again where that is provably safe, holds budgets, rates and deadlines, and knows who is present. It does no IO and owns no timer:
 * a host (Durable Object, Node process, memory) hands in what sockets and visitors say and is called back synchronously.
 */
export interface Broker {
  // ---- control: what the control plane published (the host keeps it; the broker acts on it)
  /** The connector's rights changed, or it is new. Sockets that lost their right end at once. */
  grantChanged(grant: ConnectorGrant): void;
  grantRemoved(connectorId: string): void;
  /** Limits, timers, pushes and the like of the tenant; live connectors learn of theirs at once. */
  settingsChanged(settings: TenantSettings): void;
  /** Ends the live sockets of a connector, or of one instance of it (`kick`): they may dial again. Answers how many. */
  kick(connectorId: string, instanceId: string | null, reason: string): number;

  // ---- connectors
  /** "full": the tenant has as many sockets or connectors here as it may. Ask before the upgrade is answered. */
  hasRoomFor(connectorId: string): "room" | "full";
  /** A socket that was accepted for an admitted connector. `restored`: what `Socket.remember` was given last, after the host slept. */
  attach(socket: Socket, admitted: Admitted, restored?: RestoredLink): Link;

  // ---- visitors
  /** Starts a request. `answer` is called from inside this or later calls, always synchronously; never after `cancel`. */
  request(request: BrokerRequest, answer: AnswerEvents): Call;
  /** Whether a request for the target would be started here now. */
  accepts(target: string): boolean;

  // ---- the host's clock
  /** Looks at every deadline. Call it each `SWEEP_MS` while `busy`, and once when the host wakes. */
  sweep(): void;
  /** True while there is something to look at: requests under way or waiting, greetings, a drain. */
  readonly busy: boolean;
  /** When `sweep` must be called although nothing is busy: the next credential or connector that runs out. Null: never. */
  readonly nextDueMs: number | null;

  drain(graceMs: number, holdMs?: number): LaneDrain;
  /** Ends a drain before its time. */
  serve(): void;
  sessions(): ConnectorSession[];
  readonly inFlight: number;
  /** Bytes that the broker accounts for: unread answers, kept bodies, queued sends. Never above `limits.accountedBytesMax` (an invariant). */
  readonly accountedBytes: number;
}

/** A connector's socket as the host has it. */
export interface Socket {
  /** One whole message. The array is the broker's again when the call returns, unless the host said otherwise by `allocate`. Throws: gone. */
  send(message: Uint8Array): void;
  close(code: number, reason: string): void;
  /** Bytes that the platform has not passed on yet; 0 where it does not tell. The broker packs nothing above its high-water mark. */
  readonly bufferedBytes: number;
  /** Kept with the socket over the host's sleep (at most 16 KiB as JSON). A host that never sleeps does nothing. */
  remember(link: RestoredLink): void;
}

/** What the host calls for one attached socket. */
export interface Link {
  readonly sessionId: string;
  readonly connectorId: string;
  readonly credential: Credential;
  /** "" until HELLO came. */
  readonly instanceId: string;
  received(message: Uint8Array | string): void;
  /** The socket takes bytes again after `bufferedBytes` was high. */
  drained(): void;
  gone(reason: string): void;
}

/** How the connector proved itself; removing that key or secret, or the time of expiry, ends the socket. */
export interface Admitted {
  readonly sessionId: string;
  readonly connectorId: string;
  readonly credential: Credential;
}

export interface Credential {
  /** "key": assertion by a registered key. "secret": a token of ours got with a client secret. "issuer": a token of an outside issuer. */
  readonly kind: "key" | "secret" | "issuer";
  /** Key id, secret id, or issuer URL. */
  readonly id: string;
  /** When the credential runs out unless it is renewed in band; null: with the socket. */
  readonly expiresAtMs: number | null;
}

export interface RestoredLink {
  readonly v: 2;
  readonly state: "live" | "draining" | "closed";
  readonly sessionId: string;
  readonly connectorId: string;
  readonly credential: Credential;
  readonly sinceMs: number;
  readonly peer: PeerHello | null;
  readonly unhealthy: readonly string[];
}

/** A visitor's request for a target, cleaned already (policy/headers.ts): nothing of it is of one hop or internal. */
export interface BrokerRequest {
  readonly requestId: string;
  readonly target: string;
  readonly method: string;
  /** Path and query for the target, as they came. */
  readonly path: string;
  readonly headers: HeaderList;
  /** "none": complete with its head. "stream": `write` and `end` follow. "websocket": an upgrade. */
  readonly body: "none" | "stream" | "websocket";
  /** Content-Length of the body; null: unknown. Above the tenant's limit it is refused before a byte is read. */
  readonly bodyBytes: number | null;
  /** 0 (first) to 7; 3 is the default (RFC 9218). */
  readonly urgency: number;
  /** Of the route; null: the tenant's or the lane's own. */
  readonly timeouts: {
    readonly firstByteMs: number | null;
    readonly idleMs: number | null;
    /** From the start to the last byte; null: none. */
    readonly totalMs: number | null;
  };
  /** For the tenant's rate limit per visitor; null: unknown. */
  readonly clientAddress: string | null;
  /** Told how it goes, for a span (lane-span.ts). */
  readonly watch?: CallWatch;
}

export interface CallWatch {
  /** It was sent to a connector. `lastCode`: why the one before failed; null: there was none, or it could not be sent there. */
  asked(
    link: { readonly connectorId: string; readonly connector: string; readonly instanceId: string },
    lastCode: string | null,
  ): void;
  /** Once, last. */
  ended(record: CallRecord): void;
}

/**
 * What comes back. Exactly one of `head` and `failed` comes (interim heads before); after `head`, exactly one of `end`, `broken` and (of
 * upgrades) `messageClose`; `broken` may follow the others while bytes are not consumed: the visitor stood still for too long.
 */
export interface AnswerEvents {
  interim?(head: ResponseHead): void;
  /** 101 for an upgrade that was taken. `about` says who answers and how long what took. */
  head(head: ResponseHead, about: AnswerAbout): void;
  /** Credit goes back by `Call.consumed`, when the visitor has taken the bytes. Views of the message: copy before detaching. */
  data(bytes: Uint8Array): void;
  end(trailers: HeaderList): void;
  /** Upgrades only. `creditBytes` goes back by `consumed`. */
  message(kind: "text" | "binary", data: Uint8Array, creditBytes: number): void;
  messageClose(code: number, reason: string): void;
  /** After a `write` or `writable` that answered 0 or less: there is room, or `Call.closed` is true and nothing more is wanted. */
  writable(): void;
  /** No answer of the target; the host renders it (problem+json). */
  failed(failure: LaneFailure): void;
  /** The answer broke off; cut the visitor off visibly. */
  broken(failure: LaneFailure): void;
}

/** For traces and Server-Timing. */
export interface AnswerAbout {
  readonly lane: "a" | "b";
  readonly connectorId: string;
  readonly connector: string;
  readonly instanceId: string;
  /** Name and version that the connector gave. */
  readonly software: string;
  /** Connectors that it was offered to. */
  readonly attempts: number;
  /** Waited for a connector to come. */
  readonly waitedMs: number;
  /** From the OPEN of the answering attempt to its head. */
  readonly firstByteMs: number;
}

/** A request under way. Calls after its end do nothing, except `consumed` and `cancel`, which free what is still held. */
export interface Call {
  readonly closed: boolean;
  /** How many bytes should be written now; 0 or less: wait for `writable`. */
  readonly writable: number;
  readonly heldBytes: number;
  /** The bytes are kept, not copied, until they were sent or can't be needed again. Answers like `writable`. */
  write(bytes: Uint8Array): number;
  end(trailers?: HeaderList): void;
  sendMessage(kind: "text" | "binary", data: Uint8Array): number;
  sendMessageClose(code: number, reason: string): void;
  consumed(bytes: number): void;
  /** The visitor went away, or its body broke off. */
  cancel(reason: string): void;
}

export interface BrokerPorts {
  readonly lane: "a" | "b";
  /** Milliseconds of a clock that never jumps: deadlines, rates. Only differences count. */
  readonly now: () => number;
  /** Milliseconds since the epoch: when rights and tokens run out. */
  readonly wallNow: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Runs once after the events of this turn: one message a socket and turn, not one a frame. */
  readonly defer: (run: () => void) => void;
  readonly software: string;
  readonly log: Logger;
  /** Read at each request; never copied. */
  readonly grants: ReadonlyMap<string, ConnectorGrant>;
  readonly settings: () => TenantSettings;
  readonly online: (link: Link) => void;
  readonly offline: (link: Link, reason: string) => void;
  /** Something is there for `sweep`: start the timer if it does not run. */
  readonly wake: () => void;
  /** A token that came in band. Answers its new expiry, or why it is not good. May be slow; the session goes on meanwhile. */
  readonly renew: (
    link: Link,
    token: string,
  ) => Promise<
    /** `credential`: the one that it was got with, if it may be another than before. */
    { ok: true; expiresAtMs: number; credential?: Credential } | { ok: false; reason: string }
  >;
  /** One line for each request that ended (audit, H89): the host decides where to. */
  readonly ended?: (record: CallRecord) => void;
  /** Of a host that may sleep while the lane is held after a drain. Default: it does not sleep. */
  readonly hold?: HoldMemory;
  /** Where messages are built. Default: a new array each. */
  readonly allocate?: (bytes: number) => Uint8Array;
  /** For unread answers. `totalBytes` + 16 KiB for each of `limits.inFlightMax` must leave room below `limits.accountedBytesMax`. */
  readonly budget: ByteBudget;
  readonly limits: BrokerLimits;
}

/** What differs between hosts. For the object: OBJECT_LIMITS in relay/limits.ts. */
export interface BrokerLimits {
  /** Announced to connectors. */
  readonly session: SessionLimits;
  readonly send: SendLimits;
  /** To which a stream's window may grow while it is read and the budget has room. */
  readonly streamWindowMaxBytes: number;
  /** Nothing is packed for a socket that has this much waiting; null: the platform does not tell, so nothing is held back. */
  readonly carrierHighWaterBytes: number | null;
  readonly socketsMax: number;
  /** Requests and WebSockets under way. */
  readonly inFlightMax: number;
  readonly accountedBytesMax: number;
  /** Where neither route nor tenant says otherwise. */
  readonly firstByteMs: number;
  readonly idleMs: number;
  readonly idleSocketMs: number;
}

export interface CallRecord {
  readonly requestId: string;
  readonly target: string;
  readonly method: string;
  readonly status: number | null;
  readonly code: string | null;
  readonly connectorId: string | null;
  readonly instanceId: string | null;
  readonly durationMs: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}
