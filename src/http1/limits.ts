/** Limits and timers of HTTP/1.1, each with its reason. All can be given otherwise by the host. */

export interface ServerLimits {
  /** Names, values and separators of one head. */
  readonly headBytes: number;
  readonly fields: number;
  readonly targetBytes: number;
  /** Trailers of one body. */
  readonly trailerBytes: number;
  readonly connections: number;
  /** New connections that the system keeps while the loop is busy; what comes beyond is not heard and asks again after 1, 3, 7 s. */
  readonly acceptQueue: number;
  /** Requests of one connection before it is closed. */
  readonly requestsPerConnection: number;
  /** Unsent bytes at which `write` says stop. */
  readonly unsentBytes: number;
  /** Body that is read and thrown away after an early answer, so that the client sees the answer and not a reset. */
  readonly drainBytes: number;
}

export const SERVER_LIMITS: ServerLimits = {
  headBytes: 64 * 1024, // cookies and tokens of real sites fit; proxies of note take 8 to 64 KiB
  fields: 256, // browsers send about 20; each costs an allocation
  targetBytes: 16 * 1024, // the longest that common servers take (8 to 16 KiB)
  trailerBytes: 8 * 1024, // checksums and grpc-status; nothing real is larger
  connections: 10_000, // about 10 KiB each while idle
  acceptQueue: 4096, // Linux's own bound; with Node's 511 a fleet of clients that dials after a restart waits for its second and third try
  requestsPerConnection: 1_000_000, // no reason to close earlier: clients are spread by the load balancer before
  unsentBytes: 64 * 1024, // one socket buffer; more only delays what is urgent
  drainBytes: 256 * 1024, // what a client has typically in flight when it is told no
};

export interface ServerTimeouts {
  /** First byte to end of the head: a slow head holds a connection for nothing. */
  readonly headMs: number;
  /** Between requests. */
  readonly idleMs: number;
  /** Without a byte of an unfinished request body that is wanted. */
  readonly bodyIdleMs: number;
  /** Without a byte taken of an answer that is waiting. */
  readonly writeIdleMs: number;
}

export const SERVER_TIMEOUTS: ServerTimeouts = {
  headMs: 15_000,
  idleMs: 75_000, // longer than the 60 s of common load balancers, so that they close first and no request meets a closing socket
  bodyIdleMs: 60_000,
  writeIdleMs: 120_000, // a suspended download resumes within it; a dead one does not stay
};

export interface ClientLimits {
  readonly headBytes: number;
  readonly fields: number;
  readonly trailerBytes: number;
  /** Connections to the origin, upgraded ones aside. */
  readonly sockets: number;
  /** Requests that wait for a connection. */
  readonly waiting: number;
  /** Unsent bytes at which `write` says stop. */
  readonly unsentBytes: number;
  /** Interim heads before the final one. */
  readonly interims: number;
  /** Read buffer of a plain connection. */
  readonly readBytes: number;
}

export const CLIENT_LIMITS: ClientLimits = {
  headBytes: 64 * 1024, // as the server's: what comes in must go out
  fields: 256,
  trailerBytes: 8 * 1024,
  sockets: 256, // an origin with more parallel work needs more instances of it
  waiting: 4096, // more than that is an overload that should show
  unsentBytes: 64 * 1024,
  interims: 32, // a handful of 103 and 102 are real; endless ones keep a request alive for nothing
  readBytes: 64 * 1024, // one read syscall of Node's
};

export interface ClientTimeouts {
  /** TCP and TLS. */
  readonly connectMs: number;
  /** Waiting for a free connection. */
  readonly queueMs: number;
  /** From the end of sending, or the last byte taken, to the final head. */
  readonly headMs: number;
  /** Without a byte of an answer's body that is wanted. */
  readonly bodyIdleMs: number;
  /** Kept connections. */
  readonly idleMs: number;
}

export const CLIENT_TIMEOUTS: ClientTimeouts = {
  connectMs: 10_000,
  queueMs: 30_000,
  headMs: 60_000, // targets that think long say so in their configuration
  bodyIdleMs: 0, // none: an event stream may be silent for hours; the lane's idle timer is the judge
  idleMs: 4_000, // below the 5 s after which Node's own server (and many others) closes
};

/**
 * One address of an origin that has several gets this long before the next one is tried. Node's 250 ms are shorter than the second after
 * which a lost first packet is sent again, so a busy origin would be given up for an address where nothing listens.
 */
export const ADDRESS_TIMEOUT_MS = 2_000;

/** A server's `Keep-Alive: timeout=` is shortened by this, for the way there and the clock's grain. */
export const KEEP_ALIVE_MARGIN_MS = 1_000;
/** The longest that a server's `Keep-Alive: timeout=` is believed. */
export const KEEP_ALIVE_MAX_MS = 60_000;

/** Overhead of chunked framing (sizes, extensions) that is allowed beside `CHUNK_OVERHEAD_PER_BYTE` for each byte of content. */
export const CHUNK_OVERHEAD_BYTES = 16 * 1024;
/** A chunk of one byte costs five of framing; anything much above is an extension that feeds on our CPU (CVE-2024-22019). */
export const CHUNK_OVERHEAD_PER_BYTE = 16;

/** How long a client may take to read our last words before its socket is destroyed. */
export const LINGER_MS = 2_000;
/** Pipelined requests that are kept while one is answered; then the socket is not read any more. */
export const PIPELINED_BYTES = 64 * 1024;
