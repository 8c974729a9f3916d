import { z } from "@hono/zod-openapi";
import { and, desc, eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import type { StepName } from "../db/operations.ts";
import { operations, operationSteps, routes, services } from "../db/schema.ts";
import { routesOf } from "../db/tenants.ts";
import { corsPolicy, networkRules, trafficLimits } from "../policy/edge-policy.ts";
import { canonicalHost } from "../policy/host.ts";
import { accessMode } from "../policy/record.ts";
import type { TenantRoute } from "../policy/record.ts";
import { roleName } from "../protocol/portal-rpc.ts";
import { ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import { fail } from "./failure.ts";
import type { Failure } from "./failure.ts";
import { MAX_ROUTES_CHARACTERS, MAX_ROUTES_PER_TENANT } from "./limits.ts";
import { plainPath, prefix, target } from "./names.ts";

/** Milliseconds; longer than a day is as good as none. */
const timeout = z.number().int().min(100).max(86_400_000).nullable().optional();
const timeouts = z.strictObject({ firstByteMs: timeout, idleMs: timeout, totalMs: timeout });

/** Printable ASCII, so that it is a header's value without any escaping. */
const location = z
  .string()
  .max(2_000)
  .regex(/^[\x21-\x7e]+$/, "visible ASCII without blanks; encode the rest")
  .refine(
    (text) => /^\/(?![/\\])/.test(text) || isWebAddress(text),
    "a path that starts with one slash, or an http(s) address",
  );

const destination = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("service"), service: z.string().max(40) }),
  z.strictObject({ kind: z.literal("target"), target }),
  z.strictObject({
    kind: z.literal("redirect"),
    location,
    status: z.union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)]).default(302),
    keepPath: z.boolean().default(false),
    keepQuery: z.boolean().default(false),
  }),
  z.strictObject({
    kind: z.literal("answer"),
    status: z.number().int().min(200).max(599).default(200),
    contentType: z
      .string()
      .max(200)
      .regex(/^[\x21-\x7e][\x20-\x7e]*$/, "a media type")
      .default("text/plain; charset=utf-8"),
    body: z.string().max(8_192).default(""),
  }),
]);

const newRoute = z
  .strictObject({
    prefix,
    exact: z.boolean().nullable().optional().openapi({ description: "Only the prefix itself, nothing below it" }),
    access: accessMode.default("public"),
    to: destination,
    rewrite: z
      .strictObject({
        prefix: plainPath.optional(),
        host: z
          .string()
          .refine(
            (text) => canonicalHost(text) === text.replace(/:[0-9]+$/, ""),
            "a lower-case host, with or without a port",
          )
          .optional(),
      })
      .nullable()
      .optional(),
    timeouts: timeouts.nullable().optional(),
    roles: z.strictObject({ use: roleName.optional(), write: roleName.optional() }).nullable().optional(),
    network: networkRules.nullable().optional(),
    limits: trafficLimits.nullable().optional(),
    cors: corsPolicy.nullable().optional(),
  })
  .superRefine((route, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    const { to, access, rewrite, roles } = route;
    if (roles && access !== "member") refuse(["roles"], "only members have roles: the route's access must be member");
    const isOwn = to.kind === "redirect" || to.kind === "answer";
    if (route.exact && !isOwn) refuse(["exact"], "only a redirect or an answer can be exact");
    if (rewrite && isOwn) refuse(["rewrite"], "only what goes to a service or target can be rewritten");
    if (rewrite?.host !== undefined && to.kind === "target")
      refuse(["rewrite", "host"], "the Host of a target is set at its connector (target option host)");
    if (to.kind === "service" && (route.timeouts?.idleMs || route.timeouts?.totalMs))
      refuse(["timeouts"], "a service has firstByteMs only");
    if (to.kind === "redirect" && (to.keepPath || to.keepQuery) && /[?#]/.test(to.location))
      refuse(["to", "location"], "with keepPath or keepQuery it has no query and no fragment of its own");
    if (
      to.kind === "redirect" &&
      (route.exact ? to.location === route.prefix : to.keepPath && loops(route.prefix, to.location))
    )
      refuse(["to", "location"], "it leads to itself");
    if (to.kind === "answer" && to.status >= 300 && to.status < 400) refuse(["to", "status"], "use a redirect");
  });

function isWebAddress(text: string): boolean {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === "" && password === "";
}

/** Below its own prefix on the same host: every answer would lead one step further. */
const loops = (prefix: string, location: string): boolean =>
  location.startsWith("/") && (prefix === "/" || location === prefix || location.startsWith(`${prefix}/`));

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
    if (JSON.stringify(list).length > MAX_ROUTES_CHARACTERS)
      context.addIssue({ code: "custom", message: `more than ${MAX_ROUTES_CHARACTERS} characters of JSON` });
  });

export function routeRow(
  tenantId: string,
  { prefix, access, to, ...options }: TenantRoute,
): typeof routes.$inferInsert {
  const kept = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null && value !== undefined));
  const row = { tenantId, prefix, access, kind: to.kind };
  if (to.kind === "service") return { ...row, destination: to.service, options: kept };
  if (to.kind === "target") return { ...row, destination: to.target, options: kept };
  return { ...row, destination: "", options: { ...kept, to } };
}

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
 * The node knows only which prefix belongs to which service and what it is rewritten to, so nothing else bothers it. What is new there must work before visitors are sent
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
  new Set(
    list.flatMap(({ prefix, to, rewrite }) =>
      to.kind === "service"
        ? [JSON.stringify([prefix, to.service, rewrite?.prefix ?? null, rewrite?.host ?? null])]
        : [],
    ),
  );

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

/** Without what is absent in either form. */
const asText = ({ prefix: _prefix, ...route }: TenantRoute): string =>
  JSON.stringify(
    Object.entries(route)
      .filter(([, value]) => value !== null && value !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
