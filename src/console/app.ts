import { OpenAPIHono } from "@hono/zod-openapi";
import { sqlState } from "../db/client.ts";
import { newId } from "../shared/ids.ts";
import { docsPage, DOCS_POLICY } from "./docs-page.ts";
import { failureOf } from "./failure.ts";
import { refuse } from "./respond.ts";
import type { ConsoleApp, ConsoleEnv } from "./respond.ts";
import { auditRoutes } from "./routes/audit.ts";
import { clusterRoutes } from "./routes/clusters.ts";
import { connectorRoutes } from "./routes/connectors.ts";
import { nodeRoutes } from "./routes/nodes.ts";
import { operationRoutes } from "./routes/operations.ts";
import { tenantChangeRoutes } from "./routes/tenant-changes.ts";
import { tenantPartRoutes } from "./routes/tenant-parts.ts";
import { tenantRoutes } from "./routes/tenants.ts";

const INFO = {
  title: "Causeway management API",
  version: "1",
  description:
    "For operators. Changes that take time answer 202 with an operation to follow. POST takes an Idempotency-Key, changes take If-Match; errors are problem details (RFC 9457).",
};

/** The console's core. `app.fetch(request, ports)`: the ports are Hono's bindings, made anew for each request. */
export function createConsole(): ConsoleApp {
  const app: ConsoleApp = new OpenAPIHono<ConsoleEnv>();

  app.use(async function assignRequestId(c, next) {
    c.set("requestId", newId("req"));
    await next();
  });
  app.onError((error, c) => {
    const failure = failureOf(error);
    if (failure !== null) return refuse(c, failure);
    // Not the message: a failed query's holds its parameters.
    c.env.log.error("request failed", { requestId: c.var.requestId, error: error.name, sqlState: sqlState(error) });
    return refuse(c, { code: "internal-error", detail: "Something went wrong on our side. Quote the request id." });
  });
  app.notFound((c) => refuse(c, { code: "not-found", detail: "The management API has no such path and method." }));

  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  clusterRoutes(app);
  nodeRoutes(app);
  tenantRoutes(app);
  tenantChangeRoutes(app);
  tenantPartRoutes(app);
  connectorRoutes(app);
  operationRoutes(app);
  auditRoutes(app);
  app.get("/api/v1/openapi.json", (c) => c.json(openApiDocument(app)));
  app.get("/api/docs", (c) =>
    c.html(docsPage(openApiDocument(app)), 200, {
      "content-security-policy": DOCS_POLICY,
      "x-content-type-options": "nosniff",
    }),
  );
  return app;
}

export function openApiDocument(app: ConsoleApp): unknown {
  return app.getOpenAPI31Document({ openapi: "3.1.0", info: INFO });
}
