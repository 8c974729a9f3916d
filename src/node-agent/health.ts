import { createServer, type Server, type ServerResponse } from "node:http";
import { renderMetrics } from "./metrics.ts";

export interface AgentStatus {
  readonly ready: boolean;
  readonly node: string;
  readonly channel: "online" | "offline";
  readonly envoy: { readonly connected: boolean; readonly pid: number | null; readonly drainingPid: number | null };
  readonly tenants: Readonly<Record<string, number>>;
  /** Tenants that wait for `causeway node removals --confirm`. */
  readonly heldRemovals: number;
  readonly services: readonly { readonly name: string; readonly pid: number | null; readonly port: number }[];
}

/** `/healthz`: the agent runs. `/readyz`: 200 when Envoy has its configuration from the agent, with the state of everything as JSON; else 503. `/metrics`: for Prometheus. Loopback only. */
export async function serveHealth(
  port: number,
  status: () => AgentStatus,
  refused: () => Promise<number | null>,
): Promise<Server> {
  async function sendMetrics(response: ServerResponse): Promise<void> {
    const count = await refused(); // Never rejects.
    response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
    response.end(renderMetrics(status(), count));
  }
  const server = createServer((request, response) => {
    const send = (code: number, body: object): void => {
      response.writeHead(code, { "content-type": "application/json", "cache-control": "no-store" });
      response.end(`${JSON.stringify(body)}\n`);
    };
    if (request.url === "/healthz") return send(200, { status: "ok" });
    if (request.url === "/metrics") {
      void sendMetrics(response);
      return;
    }
    if (request.url !== "/readyz") return send(404, { status: "not found" });
    const now = status();
    return send(now.ready ? 200 : 503, now);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  server.unref();
  return server;
}
