import { z } from "@hono/zod-openapi";
import { eq, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { enqueueOperation, maintenanceSubject } from "../../db/operations.ts";
import { clusters, maintenanceNotices } from "../../db/schema.ts";
import { maintenance, type Maintenance } from "../../policy/edge-policy.ts";
import { WHOLE_PLATFORM } from "../../policy/record.ts";
import { ok, type Result } from "../../shared/result.ts";
import { NO_INPUT, read, write, type Written } from "../endpoint.ts";
import { notFound, type Failure } from "../failure.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import type { ConsoleApp } from "../respond.ts";
import { operationView } from "../views.ts";

const shown = z
  .object({ maintenance: maintenance.nullable().openapi({ description: "Null: none" }) })
  .openapi("MaintenanceNotice");
const changed = shown.extend({ operation: operationView }).openapi("MaintenanceChange");
const clusterParams = z.object({ cluster: z.string() });

/** What visitors of the whole platform, or of one cluster, are told instead of what they asked for. This API goes on. */
export function maintenanceRoutes(app: ConsoleApp): void {
  const get = { ...NO_INPUT, method: "get", tag: "maintenance", scope: "read", status: 200, answer: shown } as const;
  const put = {
    ...NO_INPUT,
    method: "put",
    tag: "maintenance",
    scope: "admin",
    status: 202,
    // A copy: what was made before `z` learned of OpenAPI (whoever imports the policy first) has not learned of it.
    body: maintenance.clone().openapi("Maintenance"),
    answer: changed,
  } as const;
  const end = {
    ...NO_INPUT,
    method: "delete",
    tag: "maintenance",
    scope: "admin",
    status: 202,
    answer: changed,
  } as const;
  const whole = { path: "/maintenance" } as const;
  const ofCluster = {
    path: "/clusters/{cluster}/maintenance",
    params: clusterParams,
    refusals: ["not-found"],
  } as const;

  read(app, { ...get, ...whole, summary: "Show the platform's maintenance notice" }, async (db) =>
    ok({ body: { maintenance: await current(db, WHOLE_PLATFORM) } }),
  );
  write(
    app,
    { ...put, ...whole, summary: "Show all visitors a maintenance page, within 10 s; this API goes on" },
    (tx, { body, now }) => set(tx, WHOLE_PLATFORM, body, now),
  );
  write(app, { ...end, ...whole, summary: "End the platform's maintenance" }, (tx, { now }) =>
    set(tx, WHOLE_PLATFORM, null, now),
  );

  read(app, { ...get, ...ofCluster, summary: "Show a cluster's maintenance notice" }, async (db, { params }) => {
    const missing = await unknownCluster(db, params.cluster);
    return missing ?? ok({ body: { maintenance: await current(db, params.cluster) } });
  });
  write(
    app,
    { ...put, ...ofCluster, summary: "Show visitors of a cluster's tenants a maintenance page, within 10 s" },
    async (tx, { params, body, now }) =>
      (await unknownCluster(tx, params.cluster)) ?? (await set(tx, params.cluster, body, now)),
  );
  write(
    app,
    { ...end, ...ofCluster, summary: "End a cluster's maintenance" },
    async (tx, { params, now }) =>
      (await unknownCluster(tx, params.cluster)) ?? (await set(tx, params.cluster, null, now)),
  );
}

async function current(db: Db, scope: string): Promise<Maintenance | null> {
  const [row] = await db.select().from(maintenanceNotices).where(eq(maintenanceNotices.scope, scope));
  return row?.maintenance ?? null;
}

async function unknownCluster(db: Db, name: string): Promise<Result<never, Failure> | null> {
  const [found] = await db.select({ id: clusters.id }).from(clusters).where(eq(clusters.name, name));
  return found === undefined ? notFound("cluster", name) : null;
}

async function set(tx: Db, scope: string, notice: Maintenance | null, now: Date): Promise<Result<Written, Failure>> {
  const values = { maintenance: notice, updatedAt: now };
  await tx
    .insert(maintenanceNotices)
    .values({ scope, ...values })
    .onConflictDoUpdate({
      target: maintenanceNotices.scope,
      set: { ...values, revision: sql`nextval('control.revision')` },
    });
  const subjectId = maintenanceSubject.of(scope);
  const operation = await enqueueOperation(tx, { kind: "maintenance-publish", subjectId, tenantId: null, now });
  return ok({
    body: { operation: await shownOperation(tx, operation), maintenance: notice },
    headers: { location: operationLocation(operation) },
    audit: {
      action: notice === null ? "maintenance.end" : "maintenance.begin",
      subjectId,
      tenantId: null,
      details: notice === null ? {} : { ...notice },
    },
    operation,
  });
}
