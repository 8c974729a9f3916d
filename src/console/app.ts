import { OpenAPIHono } from "@hono/zod-openapi";
import { sqlState } from "../db/client.ts";
import { newId } from "../shared/ids.ts";
import { docsPage, DOCS_POLICY } from "./docs-page.ts";
import { failureOf } from "./failure.ts";
import { refuse } from "./respond.ts";
import type { ConsoleApp, ConsoleEnv } from "./respond.ts";
import { auditRoutes } from "./routes/audit.ts";
import { clusterRoutes } from "./routes/clusters.ts";
import { connectorControlRoutes } from "./routes/connector-control.ts";
import { connectorSecretRoutes } from "./routes/connector-secrets.ts";
import { connectorRoutes } from "./routes/connectors.ts";
import { jobRunRoutes } from "./routes/job-runs.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { laneRoutes } from "./routes/lanes.ts";
import { maintenanceRoutes } from "./routes/maintenance.ts";
import { memberRoutes } from "./routes/members.ts";
import { nodeRemovalRoutes } from "./routes/node-removal.ts";
import { nodeRoutes } from "./routes/nodes.ts";
import { operationRoutes } from "./routes/operations.ts";
import { pairingRoutes } from "./routes/pairing.ts";
import { placementRoutes } from "./routes/placement.ts";
import { relayRoutes } from "./routes/relay.ts";
import { serviceRoutes } from "./routes/services.ts";
import { tenantChangeRoutes } from "./routes/tenant-changes.ts";
import { tenantHostRoutes } from "./routes/tenant-hosts.ts";
import { tenantPartRoutes } from "./routes/tenant-parts.ts";
import { tenantPolicyRoutes } from "./routes/tenant-policy.ts";
import { tenantRoutes } from "./routes/tenants.ts";
import { tokenRoutes } from "./routes/tokens.ts";

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
  app.use(async function refuseControlCharacters(c, next) {
    // As text no name, id or search has any, and PostgreSQL can't hold a NUL. The URL parser leaves them only encoded.
    if (/%(?:[01][0-9a-f]|7f)/i.test(c.req.url))
      return refuse(c, { code: "bad-request", detail: "Control characters are not allowed in path or query." });
    return await next();
  });
  app.onError((error, c) => {
    const failure = failureOf(error);
    if (failure !== null) return refuse(c, failure);
    // Not the message: a failed query's holds its parameters.
    c.env.log.error("request failed", { requestId: c.var.requestId, error: error.name, sqlState: sqlState(error) });
    return refuse(c, { code: "internal-error", detail: "Something went wrong on our side. Quote the request id." });
  });
  app.notFound((c) => {
    const allowed = allowedMethods(app, c.req.path);
    if (allowed.length === 0) return refuse(c, { code: "not-found", detail: "The management API has no such path." });
    const allow = allowed.join(", ");
    return refuse(c, { code: "method-not-allowed", detail: `This path takes ${allow}.` }, { allow });
  });

  // Whoever opens the console's address in a browser.
  app.get("/", (c) => c.redirect("/api/docs"));
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  clusterRoutes(app);
  maintenanceRoutes(app);
  nodeRoutes(app);
  nodeRemovalRoutes(app);
  placementRoutes(app);
  tenantRoutes(app);
  tenantChangeRoutes(app);
  tenantHostRoutes(app);
  tenantPartRoutes(app);
  serviceRoutes(app);
  tenantPolicyRoutes(app);
  memberRoutes(app);
  jobRoutes(app);
  jobRunRoutes(app);
  relayRoutes(app);
  laneRoutes(app);
  pairingRoutes(app);
  connectorRoutes(app);
  connectorSecretRoutes(app);
  connectorControlRoutes(app);
  operationRoutes(app);
  auditRoutes(app);
  tokenRoutes(app);
  app.get("/api/v1/openapi.json", (c) => c.json(openApiDocument(app)));
  app.get("/api/docs", (c) =>
    c.html(docsPage(openApiDocument(app)), 200, {
      "content-security-policy": DOCS_POLICY,
      "x-content-type-options": "nosniff",
    }),
  );
  return app;
}

/** Methods of the routes that match a path; none for an unknown path. */
function allowedMethods(app: ConsoleApp, path: string): string[] {
  const segments = path.split("/");
  const matches = (pattern: string): boolean => {
    const wanted = pattern.split("/");
    return (
      wanted.length === segments.length &&
      wanted.every((part, index) => (part.startsWith(":") ? segments[index] !== "" : part === segments[index]))
    );
  };
  // "ALL" is what runs before every request; a HEAD is answered as a GET.
  const methods = app.routes.filter(({ method, path: pattern }) => method !== "ALL" && matches(pattern));
  return [...new Set(methods.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method])))].toSorted();
}

export function openApiDocument(app: ConsoleApp): unknown {
  return app.getOpenAPI31Document({ openapi: "3.1.0", info: INFO });
}
