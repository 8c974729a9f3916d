import type { OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import type { Logger } from "../../shared/log.ts";

/** What answers requests for one name. */
export interface Target {
  readonly name: string;
  /** Fails its health check. True for what is checked and does not answer as it should; unknown is well. */
  readonly unhealthy: boolean;
  /** A request came. `stream` takes the answer; the request's body follows as events. */
  open(stream: Stream, request: OpenRequest): StreamEvents;
  /** No request comes any more: checks end, what runs goes on. */
  retire(): void;
  /** The connector ends: lets go of connections. */
  close(): void;
}

export interface TargetPorts {
  readonly log: Logger;
  /** PEM, trusted in addition to the machine's certificates. */
  readonly ca: string | null;
  /** In [0, 1). Spreads health checks. */
  readonly random: () => number;
  /** A target's health has changed. */
  readonly healthChanged: () => void;
  /** The library that speaks HTTP/1.1 with targets; default: our own on llhttp. */
  readonly originClient?: OriginClientKind;
}

export type OriginClientKind = "llhttp" | "undici";
