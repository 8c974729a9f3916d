import { createServer } from "node:http";
import type { Address } from "./config.ts";
import type { LaneName } from "./lane-choice.ts";
import type { Metrics } from "./metrics.ts";
import type { Tenants } from "./tenants.ts";

export interface Admin {
  readonly address: Address;
  close(): void;
}

/**
 * For the operator's own programs, on loopback as a rule: /healthz (the process works), /readyz (503 while it drains), /metrics (Prometheus),
 * /sessions (connectors that are online).
 */
export function startAdmin(
  listen: Address,
  ports: {
    readonly tenants: Tenants;
    readonly metrics: Metrics;
    readonly lanes: readonly LaneName[];
    readonly draining: () => boolean;
    readonly inFlight: () => number;
  },
): Promise<Admin> {
  const state = () => ({ ready: !ports.draining(), lanes: ports.lanes, inFlight: ports.inFlight() });
  const sessions = () =>
    [...ports.tenants.bySlug.values()].flatMap((tenant) =>
      ports.lanes.flatMap((lane) =>
        (tenant.broker(lane)?.sessions() ?? []).map((session) => ({ tenant: tenant.slug, ...session })),
      ),
    );

  async function answer(path: string): Promise<{ status: number; type: string; body: string }> {
    const json = (status: number, value: unknown) => ({
      status,
      type: "application/json",
      body: `${JSON.stringify(value)}\n`,
    });
    switch (path) {
      case "/healthz":
        return json(200, state());
      case "/readyz":
        return json(ports.draining() ? 503 : 200, state());
      case "/sessions":
        return json(200, { sessions: sessions() });
      case "/metrics":
        return { status: 200, type: "text/plain; version=0.0.4", body: await ports.metrics.text() };
      default:
        return json(404, { paths: ["/healthz", "/readyz", "/sessions", "/metrics"] });
    }
  }

  const server = createServer((request, response) => {
    const reply = async (): Promise<void> => {
      const { status, type, body } = await answer((request.url ?? "").split("?", 1)[0] ?? "");
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
      response.end(request.method === "HEAD" ? undefined : body);
    };
    void reply();
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(listen.port, listen.host, () => {
      const address = server.address();
      resolve({
        address: {
          host: listen.host,
          port: typeof address === "object" && address !== null ? address.port : listen.port,
        },
        close() {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}
