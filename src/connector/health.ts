import { createServer, type Server } from "node:http";
import { err, ok, type Result } from "../shared/result.ts";
import { metricsText, type MeasuredConnector, type ProcessUsage } from "./metrics.ts";

/**
 * /healthz: the process works. /readyz: 200 while at least one lane can bring requests, else 503; both tell the links' states as JSON. /metrics: for
 * Prometheus. On loopback only: the connector listens nowhere else.
 */
export function startHealthServer(
  port: number,
  connector: MeasuredConnector,
): Promise<Result<{ port: number; close(): void }, string>> {
  const server: Server = createServer((request, response) => {
    if (request.url === "/metrics") {
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4", "cache-control": "no-store" });
      response.end(metricsText(connector, usage()));
      return;
    }
    const known = request.url === "/healthz" || request.url === "/readyz";
    const status = !known ? 404 : request.url === "/readyz" && !connector.ready ? 503 : 200;
    const body = known
      ? { ready: connector.ready, links: connector.links(), unhealthyTargets: connector.unhealthy }
      : {};
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(`${JSON.stringify(body)}\n`);
  });
  const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<typeof startHealthServer>>>();
  server.once("error", (error) => resolve(err(`the health port ${port} can't be used: ${error.message}`)));
  server.listen(port, "127.0.0.1", () => {
    const address = server.address();
    const actual = typeof address === "object" && address !== null ? address.port : port;
    resolve(
      ok({
        port: actual,
        close() {
          server.close();
          server.closeAllConnections();
        },
      }),
    );
  });
  return promise;
}

function usage(): ProcessUsage {
  const { user, system } = process.cpuUsage();
  return {
    residentBytes: process.memoryUsage.rss(),
    cpuSeconds: (user + system) / 1_000_000,
    uptimeSeconds: process.uptime(),
  };
}
