import type { LookupFunction, Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import type { ClientLimits, ClientTimeouts } from "./limits.ts";
import type { HeaderList } from "./types.ts";

export interface OriginClientOptions {
  /** "http:" or "https:", host and port; the rest is not used. */
  readonly origin: URL;
  /** For https: ca, servername, rejectUnauthorized, cert, key and so on. */
  readonly tls?: ConnectionOptions;
  readonly lookup?: LookupFunction;
  readonly limits?: Partial<ClientLimits>;
  readonly timeouts?: Partial<ClientTimeouts>;
}

/** One origin and its pool of kept connections. */
export interface OriginClient {
  /** Starts a request. The handler is called by later events, never from inside this call. */
  dispatch(request: ClientRequest, handler: ClientHandler): ClientCall;
  /** No new requests; those under way may finish for at most `graceMs`, then they fail with "closed". */
  close(graceMs: number): Promise<void>;
  readonly stats: { readonly open: number; readonly idle: number; readonly waiting: number };
}

export interface ClientRequest {
  readonly method: string;
  /** Path and query as they go on the wire; starts with "/", or "*". */
  readonly path: string;
  /**
   * `host` is added from the origin if absent. The client owns the connection and the framing: `connection`, `keep-alive`,
   * `proxy-connection`, `transfer-encoding`, `content-length`, `expect` and (unless `upgrade`) `upgrade` are left out.
   */
  readonly headers: HeaderList;
  /** "none"; "chunked": unknown length; a number: exactly so many bytes; bytes: the whole body, sent with the head and kept for a retry. */
  readonly body: "none" | "chunked" | number | Uint8Array;
  /** The value of Upgrade ("websocket"): asks to leave HTTP, on a connection of its own. */
  readonly upgrade?: string;
  /** From the start of sending to the final head, in ms; default `timeouts.headMs`. */
  readonly headTimeoutMs?: number;
}

export interface AnswerHead {
  readonly status: number;
  readonly headers: HeaderList;
  /** Content-Length; null: unknown. Of HEAD and 304: of the body that is not there. */
  readonly bodyBytes: number | null;
}

/** Interim heads, then one `head`, `data`, `end`; or `upgraded` in place of them. `failed` can come at any time; after it nothing. */
export interface ClientHandler {
  interim?(status: number, headers: HeaderList): void;
  /** `complete`: there is no body; `end` follows at once. */
  head(head: AnswerHead, complete: boolean): void;
  /** The view is good until the call returns: copy what is kept. Up to one read may still come after `pause()`. */
  data(bytes: Buffer): void;
  end(trailers: HeaderList): void;
  /** The origin answered 101. The socket is the caller's; `rest` came after the head. Without this handler a 101 is "malformed". */
  upgraded?(head: AnswerHead, socket: Socket, rest: Buffer): void;
  /** After a `write` that answered false. */
  writable?(): void;
  /** Bytes of the request's body that the system took; once for each `write`, in order. Their memory is the caller's again. */
  sent?(bytes: number): void;
  failed(failure: ClientFailure): void;
}

export interface ClientCall {
  readonly closed: boolean;
  /** A piece of the body; kept (not copied) until `sent`. False: stop until `writable`. May be called before a connection is there. */
  write(bytes: Uint8Array): boolean;
  /** The body is complete; trailers only with "chunked". Fewer bytes than announced: the call fails with "body-mismatch". */
  end(trailers?: HeaderList): void;
  pause(): void;
  resume(): void;
  /** Silent: no handler is called any more. The connection is not used again. */
  abort(): void;
}

export type ClientFailureKind =
  | "refused" // also unreachable networks and hosts
  | "unresolved"
  | "connect-timeout" // TCP and TLS together
  | "queue-timeout" // no connection became free
  | "tls"
  | "reset-before-head" // includes connections that ended without an answer
  | "reset-after-head" // the answer broke off
  | "malformed" // the answer is not HTTP/1.1, or can be read in two ways
  | "head-too-large"
  | "head-timeout"
  | "body-timeout" // no byte of the answer's body for too long
  | "body-mismatch" // the caller's body is not as long as it said
  | "invalid-request" // a field, method or path that can't be sent
  | "closed"; // the client was closed

export interface ClientFailure {
  readonly kind: ClientFailureKind;
  /** Node's or OpenSSL's code ("ECONNREFUSED", "CERT_HAS_EXPIRED"), or a short word of ours. */
  readonly code: string;
  /** For logs; may name addresses. */
  readonly message: string;
  /** Whether a byte of this request may have reached the origin. False: it is safe to send it elsewhere. */
  readonly sent: boolean;
}
