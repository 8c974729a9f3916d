import { z } from "@hono/zod-openapi";
import { and, desc, eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import type { StepName } from "../db/operations.ts";
import { operations, operationSteps, routes, services } from "../db/schema.ts";
import { routesOf } from "../db/tenants.ts";
import { accessMode } from "../policy/record.ts";
import type { TenantRoute } from "../policy/record.ts";
import { ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import { fail } from "./failure.ts";
import type { Failure } from "./failure.ts";
import { MAX_ROUTES_PER_TENANT } from "./limits.ts";
import { prefix, target } from "./names.ts";

const newRoute = z.strictObject({
  prefix,
  access: accessMode.default("public"),
  to: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("service"), service: z.string().max(40) }),
    z.strictObject({ kind: z.literal("target"), target }),
  ]),
});

export const routeList = z
  .array(newRoute)
  .max(MAX_ROUTES_PER_TENANT)
  .superRefine((list, context) => {
    const seen = new Set<string>();
    for (const [index, route] of list.entries()) {
      if (seen.has(route.prefix))
        context.addIssue({ code: "custom", path: [index, "prefix"], message: "an earlier route has this prefix" });
      seen.add(route.prefix);
    }
  });

export const routeRow = (tenantId: string, { prefix, access, to }: TenantRoute) => ({
  tenantId,
  prefix,
  access,
  kind: to.kind,
  destination: to.kind === "service" ? to.service : to.target,
});

/** Replaces a tenant's routes under the lock of its row; which steps that takes, and what changed. */
export async function replaceRoutes(
  tx: Db,
  tenantId: string,
  wanted: readonly TenantRoute[],
): Promise<Result<{ steps: readonly StepName[]; details: Record<string, unknown> }, Failure>> {
  const rows = await tx.selectDistinct({ name: services.name }).from(services).where(eq(services.tenantId, tenantId));
  const names = new Set(rows.map(({ name }) => name));
  for (const { prefix, to } of wanted)
    if (to.kind === "service" && !names.has(to.service))
      return fail("bad-request", `Route ${prefix}: the tenant has no service "${to.service}".`);

  const before = await routesOf(tx, tenantId);
  await tx.delete(routes).where(eq(routes.tenantId, tenantId));
  if (wanted.length > 0) await tx.insert(routes).values(wanted.map((route) => routeRow(tenantId, route)));

  const steps = stepsFor(before, wanted, await lastPushIsDone(tx, tenantId));
  return ok({ steps, details: differences(before, wanted) });
}

/**
 * The node knows only which prefix belongs to which service, so nothing else bothers it. What is new there must work before visitors are sent
 * to it; what only goes away is taken from visitors first.
 */
export function stepsFor(
  before: readonly TenantRoute[],
  wanted: readonly TenantRoute[],
  nodeIsCurrent: boolean,
): readonly StepName[] {
  const old = nodeRoutes(before);
  const next = nodeRoutes(wanted);
  if (!nodeIsCurrent || [...next].some((route) => !old.has(route))) return ["push", "publish"];
  return next.size < old.size ? ["publish", "push"] : ["publish"];
}

const nodeRoutes = (list: readonly TenantRoute[]): Set<string> =>
  new Set(list.flatMap(({ prefix, to }) => (to.kind === "service" ? [`${prefix} ${to.service}`] : [])));

/** Whether the node took what it was last to be told; false after an operation that failed before or at that. */
async function lastPushIsDone(tx: Db, tenantId: string): Promise<boolean> {
  const [last] = await tx
    .select({ state: operationSteps.state })
    .from(operationSteps)
    .innerJoin(operations, eq(operations.id, operationSteps.operationId))
    .where(and(eq(operations.subjectId, tenantId), eq(operationSteps.name, "push")))
    .orderBy(desc(operations.seq))
    .limit(1);
  return last?.state === "done";
}

/** Prefixes only: for the audit event. */
function differences(before: readonly TenantRoute[], wanted: readonly TenantRoute[]): Record<string, unknown> {
  const old = new Map(before.map((route) => [route.prefix, asText(route)]));
  const next = new Map(wanted.map((route) => [route.prefix, asText(route)]));
  return {
    added: [...next.keys()].filter((prefix) => !old.has(prefix)),
    changed: [...next].flatMap(([prefix, text]) => (old.has(prefix) && old.get(prefix) !== text ? [prefix] : [])),
    removed: [...old.keys()].filter((prefix) => !next.has(prefix)),
  };
}

const asText = ({ access, to }: TenantRoute): string =>
  `${access} ${to.kind} ${to.kind === "service" ? to.service : to.target}`;
