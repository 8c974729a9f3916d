import type { HeaderList, OpenRequest, StreamEvents } from "../../protocol/tunnel/session.ts";
import { TARGET_FILES_POLL_MS, TARGET_RETIRE_MS } from "../limits.ts";
import { answer } from "./answer.ts";
import { applyRules, compileRules } from "./header-rules.ts";
import { startHealthCheck, type HealthCheck } from "./health-check.ts";
import { createOriginPort, type OriginPort } from "./origin-client.ts";
import { withOwnOrigin } from "./own-origin.ts";
import type { WebTargetConfig } from "./target-config.ts";
import { readTargetFiles, watchTargetFiles, type TargetFiles } from "./target-files.ts";
import { targetRequestHeaders, valuesOf } from "./target-headers.ts";
import { targetPath } from "./target-path.ts";
import type { Target, TargetPorts } from "./target.ts";
import { createWebExchange, type WebOrigin } from "./web-exchange.ts";
import { openTargetSocket } from "./web-socket.ts";

/** Safe by their definition (RFC 9110, RFC 4918, RFC 3253, RFC 5323); a WebSocket is not, whatever opened it. */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT", "SEARCH"]);
/** By these a request says that it is another method; some frameworks believe it. */
const METHOD_OVERRIDES: ReadonlySet<string> = new Set(["x-http-method-override", "x-http-method", "x-method-override"]);

/** A web server near the connector. Connections are kept and reused; each request in flight has its own. */
export function createWebTarget(config: WebTargetConfig, ports: TargetPorts): Target {
  const { name, url } = config;
  const log = ports.log.with({ target: name });
  const requestRules = compileRules(config.requestHeaders);
  const responseRules = compileRules(config.responseHeaders);
  if (config.tls.insecure) {
    log.warn(
      "INSECURE: the certificate of this target is not checked (tls.insecure); whoever is between here and it can read and change everything",
    );
  }
  let files = filesOf(config, ports);
  let origin: WebOrigin = { config, client: connect(files), responseRules, log };
  let open = 0;

  function connect(next: TargetFiles): OriginPort {
    return createOriginPort(config, next, ports.originClient ?? "llhttp");
  }
  /** Requests that run keep their connections; new ones get the new certificate or password. */
  const stopWatching = watchTargetFiles(config, TARGET_FILES_POLL_MS, () => {
    const next = readTargetFiles(config, ports.ca);
    if (!next.ok)
      return log.error("a file of this target changed and can't be used; the old one stays", { reason: next.error });
    log.info("the target's files were read again");
    void origin.client.close(TARGET_RETIRE_MS);
    files = next.value;
    origin = { ...origin, client: connect(files) };
  });

  const fieldsOf = (visitorHost: string | null, fields: HeaderList): HeaderList => {
    const host = config.host === "target" ? null : config.host === "preserve" ? visitorHost : config.host;
    const own: [string, string][] = host === null ? [] : [["Host", host]];
    const { authorization } = files;
    if (authorization === null) return [...own, ...applyRules(requestRules, fields)];
    const others = applyRules(requestRules, fields).filter(([field]) => field.toLowerCase() !== "authorization");
    return [...own, ...others, ["Authorization", authorization]];
  };
  /** The plain case costs nothing: most targets have no rules. */
  const untouched = config.host === "target" && requestRules === null && config.basicAuth === null;
  /** Whether WebSockets were taken with the target's own Origin, and so begin with it. */
  let ownOriginFirst = false;

  const health: HealthCheck | null =
    config.health === null
      ? null
      : startHealthCheck(
          { url, settings: config.health },
          {
            client: () => origin.client,
            headers: () => fieldsOf(url.host, [["User-Agent", "causeway-connector (health check)"]]),
            random: ports.random,
            log,
            changed: ports.healthChanged,
          },
        );

  const take = (stream: Parameters<Target["open"]>[0], request: OpenRequest): StreamEvents => {
    const checked = targetRequestHeaders(request.headers);
    if (!checked.ok) {
      stream.reset("protocol", checked.error);
      return {};
    }
    let fields = checked.value.list;
    if (config.stripPrefix !== null) fields = withPrefix(fields, config.stripPrefix);
    if (config.readOnly) fields = fields.filter(([field]) => !METHOD_OVERRIDES.has(field.toLowerCase()));
    if (!untouched) {
      const [host = null] = [...valuesOf(request.headers, "x-forwarded-host"), ...valuesOf(request.headers, "host")];
      fields = fieldsOf(host, fields);
    }
    const own = config.origin === "preserve" ? null : withOwnOrigin(url, request.headers, fields);
    if (own !== null && config.origin === "target") fields = own;
    const path = targetPath(url.pathname, request.path, config.stripPrefix);
    if (request.upgrade === "websocket") {
      const other = own === fields ? null : own;
      const [headers, otherwise] = other !== null && ownOriginFirst ? [other, fields] : [fields, other];
      const taken = (by: HeaderList): void => {
        if (other !== null) ownOriginFirst = by === other;
      };
      const socket = { config, path, headers, otherwise, taken, tls: files.tls, responseRules, log };
      return openTargetSocket(socket, stream, request);
    }
    return createWebExchange(origin, stream, request, {
      path,
      headers: fields,
      contentLength: checked.value.contentLength,
    });
  };

  return {
    name,
    get unhealthy() {
      return health?.unhealthy ?? false;
    },
    open(stream, request) {
      if (config.readOnly && (request.upgrade !== null || !SAFE.has(request.method))) {
        const text = `{"title":"The target \\"${name}\\" may only be read.","status":405}\n`;
        const head = {
          status: 405,
          type: "application/problem+json",
          headers: [["Allow", "GET, HEAD, OPTIONS"]],
        } as const;
        answer(stream, request, head, text);
        return { data: (bytes) => stream.consumed(bytes.length) };
      }
      if (config.maxConcurrent === null) return take(stream, request);
      if (open >= config.maxConcurrent) {
        stream.reset("refused-before-start", `target "${name}": ${open} requests run there already, its maxConcurrent`);
        return {};
      }
      const events = take(stream, request);
      if (stream.closed) return events;
      open += 1;
      const closed = events.closed?.bind(events);
      events.closed = (outcome) => {
        open -= 1;
        closed?.(outcome);
      };
      return events;
    },
    retire() {
      health?.stop();
      stopWatching?.();
    },
    close() {
      health?.stop();
      stopWatching?.();
      void origin.client.close(0);
    },
  };
}

/** They were good when the configuration was read; if they are not any more, TLS fails later with a reason, and nothing is trusted more. */
function filesOf(config: WebTargetConfig, ports: TargetPorts): TargetFiles {
  const files = readTargetFiles(config, ports.ca);
  if (files.ok) return files.value;
  ports.log.error("a file of this target can't be used", { target: config.name, reason: files.error });
  const nothing = {
    ...config,
    basicAuth: null,
    tls: { ...config.tls, ca: undefined, certificate: undefined, key: undefined },
  };
  const bare = readTargetFiles(nothing, null);
  return bare.ok ? bare.value : { tls: {}, authorization: null };
}

/** What is cut off here is in front of the application's paths for the visitor. */
function withPrefix(fields: HeaderList, cut: string): HeaderList {
  const [before = ""] = valuesOf(fields, "x-forwarded-prefix");
  return [
    ...fields.filter(([name]) => name.toLowerCase() !== "x-forwarded-prefix"),
    ["X-Forwarded-Prefix", before + cut],
  ];
}
