import type { ClientRequest, OriginClient, OriginClientOptions } from "../../http1/client-types.ts";
import { createOriginClient } from "../../http1/client.ts";
import { localhostLookup } from "../../shared/localhost-lookup.node.ts";
import { TARGET_HEAD_BYTES, TARGET_SOCKETS } from "../limits.ts";
import type { WebTargetConfig } from "./target-config.ts";
import type { TargetFiles } from "./target-files.ts";
import type { OriginClientKind } from "./target.ts";
import { createUndiciClient } from "./undici-client.ts";

/** A request that stays HTTP: WebSockets go another way (web-socket.ts). */
export type OriginRequest = Omit<ClientRequest, "upgrade">;

/** What the connector wants of an HTTP/1.1 client; the contract is that of src/http1/client-types.ts. */
export interface OriginPort {
  dispatch(
    request: OriginRequest,
    handler: Parameters<OriginClient["dispatch"]>[1],
  ): ReturnType<OriginClient["dispatch"]>;
  close(graceMs: number): Promise<void>;
}

export function createOriginPort(config: WebTargetConfig, files: TargetFiles, kind: OriginClientKind): OriginPort {
  const options: OriginClientOptions = {
    origin: config.url,
    tls: files.tls,
    lookup: localhostLookup,
    limits: { headBytes: TARGET_HEAD_BYTES, sockets: TARGET_SOCKETS },
    timeouts: {
      connectMs: config.connectTimeoutMs,
      headMs: config.timeoutMs,
      // A silent event stream is alive unless the site says otherwise; the relay has an idle timer too.
      bodyIdleMs: config.idleTimeoutMs ?? 0,
    },
  };
  return kind === "undici" ? createUndiciClient(options) : createOriginClient(options);
}
