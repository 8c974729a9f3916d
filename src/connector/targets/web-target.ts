import { getCACertificates } from "node:tls";
import { Pool } from "undici";
import { localhostLookup } from "../../shared/localhost-lookup.node.ts";
import { TARGET_CONNECT_TIMEOUT_MS, TARGET_HEAD_BYTES } from "../limits.ts";
import type { WebTargetConfig } from "./target-config.ts";
import { targetRequestHeaders } from "./target-headers.ts";
import { targetPath } from "./target-path.ts";
import type { Target, TargetPorts } from "./target.ts";
import { createWebExchange, type WebOrigin } from "./web-exchange.ts";
import { openTargetSocket } from "./web-socket.ts";

/** A web server near the connector. Connections are kept and reused; each request in flight has its own. */
export function createWebTarget(config: WebTargetConfig, ports: TargetPorts): Target {
  const { name, url } = config;
  const trust = ports.ca === null ? {} : { ca: [...getCACertificates("default"), ports.ca] };
  const pool = new Pool(url.origin, {
    // Streams are bounded by the session; a bound here would let event streams starve everything else.
    connections: null,
    pipelining: 1,
    maxHeaderSize: TARGET_HEAD_BYTES,
    // A silent event stream is alive; the relay has the idle timer.
    bodyTimeout: 0,
    connect: { timeout: TARGET_CONNECT_TIMEOUT_MS, lookup: localhostLookup, allowH2: false, ...trust },
  });
  const log = ports.log.with({ target: name });
  const origin: WebOrigin = { name, pool, timeoutMs: config.timeoutMs, log };
  return {
    name,
    open(stream, request) {
      const headers = targetRequestHeaders(request.headers);
      if (!headers.ok) {
        stream.reset("protocol", headers.error);
        return {};
      }
      const path = targetPath(url.pathname, request.path);
      if (request.upgrade === "websocket") {
        return openTargetSocket({ name, url, path, timeoutMs: config.timeoutMs, trust, log }, stream, request);
      }
      return createWebExchange(origin, stream, request, path, headers.value);
    },
    close() {
      void pool.destroy();
    },
  };
}
