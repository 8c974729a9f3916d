import type { Session, SessionOptions } from "./types.ts";

export type * from "./types.ts";

/** A session over one socket. `docs/protocol.md` describes the wire, types.ts every call and event. */
export declare function createSession(options: SessionOptions): Session;
