import type { OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import type { Logger } from "../../shared/log.ts";

/** What answers requests for one name. */
export interface Target {
  readonly name: string;
  /** A request came. `stream` takes the answer; the request's body follows as events. */
  open(stream: Stream, request: OpenRequest): StreamEvents;
  /** The connector ends: lets go of connections. */
  close(): void;
}

export interface TargetPorts {
  readonly log: Logger;
  /** PEM, trusted in addition to the machine's certificates. */
  readonly ca: string | null;
}
