/** Fields in the order of the wire, duplicates kept, values as latin1 text without the white space around them. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** A request's head that passed every check (request-checks.ts): nothing of it can be read in two ways. */
export interface RequestHead {
  readonly method: string;
  /** The request-target as it came. */
  readonly target: string;
  readonly form: "origin" | "absolute";
  /** Path and query as they came; of an absolute-form what follows the authority, "/" for nothing. Starts with "/". */
  readonly path: string;
  /** Host with its port as it came (the authority of an absolute-form is the same). "" only for HTTP/1.0 without Host. */
  readonly host: string;
  readonly version: "1.0" | "1.1";
  readonly headers: HeaderList;
  /** "none": complete with its head. "stream": `data` and `end` follow, even for Content-Length: 0 in chunked form. */
  readonly body: "none" | "stream";
  /** Content-Length; null: unknown (chunked) or no body. */
  readonly bodyBytes: number | null;
  /** "websocket": the client asks to leave HTTP and `takeSocket` may be called. Other upgrades are ordinary requests. */
  readonly upgrade: "websocket" | null;
}

/** Why a request was refused before it became an exchange. The connection is closed after the answer. */
export type RefusalReason =
  | "malformed" // not HTTP/1.x, control characters, obs-fold, bare CR or LF, bad chunk
  | "ambiguous-length" // Content-Length twice or with Transfer-Encoding
  | "transfer-encoding" // anything but exactly one "chunked"
  | "host" // missing, twice, invalid or not the absolute-form's authority
  | "target-form" // asterisk or authority form, CONNECT, a target that is no path
  | "target-too-long"
  | "head-too-large"
  | "version"
  | "expectation"
  | "timeout" // the head did not come in time
  | "overloaded"; // connections at their limit

export interface Refusal {
  readonly status: 400 | 405 | 408 | 414 | 417 | 431 | 501 | 503 | 505;
  readonly reason: RefusalReason;
  /** One sentence for people, without anything of the request. */
  readonly detail: string;
  readonly remoteAddress: string | null;
}

/** Handlers that `onRequest` returns for its exchange. All are called by the socket's events, never from inside a call of the exchange. */
export interface ExchangeEvents {
  /** A piece of the request's body. May be kept: its memory is not used again. Up to one read may still come after `pause()`. */
  data?(bytes: Buffer): void;
  /** The request's body is complete. Not called for `body: "none"`. */
  end?(trailers: HeaderList): void;
  /** After a `write` that answered false. */
  writable?(): void;
  /** Last event, exactly once. Client went away, or everything was handed to the system. */
  closed?(outcome: ExchangeOutcome): void;
}

export type ExchangeOutcome =
  | { readonly kind: "finished" }
  | {
      readonly kind: "gone";
      readonly reason:
        | "client-closed" // closed or half-closed before the answer was complete
        | "client-reset"
        | "body-malformed"
        | "body-timeout" // no byte of the body came for too long
        | "write-timeout" // the client took no byte of the answer for too long
        | "aborted" // by `abort()` or the server's close
        | "taken"; // by `takeSocket()`
    };

/**
 * One request and its answer. One of `respond`, `head` + `end`, `abort` or `takeSocket` must come. Calls after `closed` do nothing.
 * The server owns framing and connection: `connection`, `keep-alive` and `transfer-encoding` in `headers` are left out; a
 * `content-length` counts (for HEAD and 304 too), else the body is chunked (HTTP/1.0: ends by closing). `date` is added if absent.
 */
export interface Exchange {
  readonly request: RequestHead;
  readonly remoteAddress: string | null;
  readonly encrypted: boolean;
  readonly closed: boolean;
  /** An informational head (103; 100 is sent by itself when it is expected). HTTP/1.0 clients get none. False: like `respond`. */
  interim(status: number, headers: HeaderList): boolean;
  /** The whole answer in one write. False: a field or status can't be sent as HTTP/1.1; nothing was sent, answer otherwise. */
  respond(status: number, headers: HeaderList, body: Uint8Array | string | null): boolean;
  /** Starts a streamed answer. False: like `respond`. */
  head(status: number, headers: HeaderList): boolean;
  /** The bytes are kept until they were sent. False: stop until `writable`. Bytes for HEAD, 204 and 304 are left out. */
  write(bytes: Uint8Array): boolean;
  /** Trailers are sent in chunked answers only. Fewer bytes than `content-length` said: the connection is cut. */
  end(trailers?: HeaderList): void;
  /** Bytes of answers that the system has not taken yet. */
  readonly unsentBytes: number;
  /** No more body from the client for now (and after a read under way). */
  pause(): void;
  resume(): void;
  /** Cuts the connection so that the client sees that the answer is broken. */
  abort(): void;
  /** Leaves HTTP, for `upgrade: "websocket"` only and before any answer. Fits `WebSocketServer.handleUpgrade` of ws. */
  takeSocket(): TakenSocket | null;
}

/** `message` has what ws reads of an IncomingMessage: method, url, headers (lower-case, joined), socket. */
export interface TakenSocket {
  readonly message: import("node:http").IncomingMessage;
  readonly socket: import("node:stream").Duplex;
  /** What came after the request's head. */
  readonly head: Buffer;
}
