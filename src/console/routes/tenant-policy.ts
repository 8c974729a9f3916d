import { z } from "@hono/zod-openapi";
import { count, eq, and } from "drizzle-orm";
import { serviceTokensOf, type ServiceTokenRow } from "../../db/edge-policy.ts";
import { serviceTokens } from "../../db/schema.ts";
import { newSecret, sha256Hex } from "../../db/secrets.ts";
import { findTenant } from "../../db/tenants.ts";
import type { TenantRow } from "../../db/tenants.ts";
import { edgeRules } from "../../policy/edge-policy.ts";
import { SERVICE_TOKEN_PREFIX } from "../../policy/headers.ts";
import { newId } from "../../shared/ids.ts";
import { ok } from "../../shared/result.ts";
import { beginChange } from "../begin-change.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { MAX_SERVICE_TOKENS_PER_TENANT, MAX_VISITOR_PASSWORD_LENGTH, MIN_VISITOR_PASSWORD_LENGTH } from "../limits.ts";
import { plainPath } from "../names.ts";
import { moment } from "../new-secret.ts";
import type { ConsoleApp } from "../respond.ts";
import { hashVisitorPassword } from "../visitor-password.ts";
import { started, tenantParams } from "./tenants.ts";

const policyView = edgeRules
  .extend({ password: z.boolean().openapi({ description: "Whether a visitor password is set; it is never shown" }) })
  .openapi("Policy");

const policyChange = edgeRules
  .extend({
    password: z.string().min(MIN_VISITOR_PASSWORD_LENGTH).max(MAX_VISITOR_PASSWORD_LENGTH).nullable().optional(),
  })
  .openapi("PolicyChange");

const viewPolicy = ({ edgeRules: rules, visitorPassword }: TenantRow): z.input<typeof policyView> => ({
  ...rules,
  password: visitorPassword !== null,
});

const tokenView = z
  .object({
    id: z.string(),
    name: z.string(),
    prefixes: z.array(z.string()),
    write: z.boolean(),
    expiresAt: z.iso.datetime().nullable(),
    createdAt: z.iso.datetime(),
  })
  .openapi("ServiceToken");

const viewToken = (row: ServiceTokenRow): z.input<typeof tokenView> => ({
  id: row.id,
  name: row.name,
  prefixes: row.prefixes,
  write: row.write,
  expiresAt: row.expiresAt?.toISOString() ?? null,
  createdAt: row.createdAt.toISOString(),
});

/** Rules for a tenant's visitors beside its routes, and what machines get in by. Changes are published alone: the node has no part in them. */
export function tenantPolicyRoutes(app: ConsoleApp): void {
  const shown = { ...NO_INPUT, tag: "tenants", scope: "read", status: 200, params: tenantParams } as const;
  const change = { ...NO_INPUT, tag: "tenants", scope: "write", status: 202, params: tenantParams } as const;
  // Taken also while something else is under way: it must not wait for a node to make access stricter.
  const published = { kind: "tenant-policy", from: ["active", "suspended"], whileBusy: "queue" } as const;

  read(
    app,
    {
      ...shown,
      method: "get",
      path: "/tenants/{tenant}/policy",
      summary: "Show its rules for visitors",
      answer: policyView,
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      return ok({ body: viewPolicy(found.tenant), headers: { etag: etagOf(found.tenant.revision) } });
    },
  );

  write(
    app,
    {
      ...change,
      method: "patch",
      path: "/tenants/{tenant}/policy",
      summary: "Change its rules for visitors: what is named is replaced, null takes it away",
      body: policyChange,
      answer: started,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        ...published,
        apply: async (tenant) => {
          const { password, ...rules } = call.body;
          const named = Object.entries({ ...tenant.edgeRules, ...rules }).filter(([, value]) => value !== null);
          const visitorPassword =
            password === undefined || password === null ? password : await hashVisitorPassword(password);
          return ok({
            set: { edgeRules: Object.fromEntries(named), ...(visitorPassword !== undefined && { visitorPassword }) },
            // Names only: a password is among them.
            details: { changed: Object.keys(call.body).toSorted() },
          });
        },
      }),
  );

  read(
    app,
    {
      ...shown,
      method: "get",
      path: "/tenants/{tenant}/tokens",
      summary: "List its service tokens; none is shown",
      answer: z.object({ items: z.array(tokenView) }),
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      return ok({ body: { items: (await serviceTokensOf(db, found.tenant.id)).map(viewToken) } });
    },
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/tokens",
      summary: "Make a service token for a machine, shown this once: Authorization: Bearer on the tenant's routes",
      body: z
        .strictObject({
          name: z
            .string()
            .max(64)
            .regex(/^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/, "lower-case letters, digits, dot, underscore, hyphen"),
          prefixes: z
            .array(plainPath)
            .min(1)
            .max(50)
            .openapi({ description: "Routes that it opens, by prefix; / for all" }),
          write: z
            .boolean()
            .default(false)
            .openapi({ description: "Whether it may do more than GET, HEAD and OPTIONS" }),
          expiresAt: moment.nullable().default(null),
        })
        .openapi("NewServiceToken"),
      answer: started.extend({ token: tokenView.extend({ secret: z.string() }).openapi("ShownServiceToken") }),
      refusals: ["not-found", "conflict"],
    },
    async (tx, call, ifMatch) => {
      const { name, prefixes, write: mayWrite, expiresAt: until } = call.body;
      const expiresAt = until === null ? null : new Date(until);
      if (expiresAt !== null && expiresAt <= call.now) return fail("bad-request", "expiresAt: this moment has passed.");
      const secret = `${SERVICE_TOKEN_PREFIX}${newSecret()}`;
      const id = newId("svc");
      let row: ServiceTokenRow | undefined;
      const begun = await beginChange(tx, call, ifMatch, {
        ...published,
        apply: async ({ id: tenantId }) => {
          const [held] = await tx
            .select({ n: count() })
            .from(serviceTokens)
            .where(eq(serviceTokens.tenantId, tenantId));
          if ((held?.n ?? 0) >= MAX_SERVICE_TOKENS_PER_TENANT)
            return fail(
              "conflict",
              `A tenant has at most ${MAX_SERVICE_TOKENS_PER_TENANT} service tokens. Revoke one first.`,
            );
          const sha256 = await sha256Hex(secret);
          const values = { id, tenantId, sha256, name, prefixes, write: mayWrite, expiresAt, createdAt: call.now };
          [row] = await tx.insert(serviceTokens).values(values).onConflictDoNothing().returning();
          if (row === undefined) return fail("conflict", `There is a service token "${name}" already.`);
          return ok({ details: { token: id, name, prefixes, write: mayWrite } });
        },
      });
      if (!begun.ok) return begun;
      if (row === undefined) throw new Error("no row came back");
      const { body } = begun.value;
      return ok({ ...begun.value, body: { ...started.parse(body), token: { ...viewToken(row), secret } } });
    },
  );

  write(
    app,
    {
      ...change,
      method: "delete",
      path: "/tenants/{tenant}/tokens/{token}",
      params: tenantParams.extend({ token: z.string() }),
      summary: "Revoke a service token: it opens nothing any more within 10 s",
      answer: started,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        ...published,
        apply: async ({ id: tenantId }) => {
          const [removed] = await tx
            .delete(serviceTokens)
            .where(and(eq(serviceTokens.tenantId, tenantId), eq(serviceTokens.id, call.params.token)))
            .returning({ token: serviceTokens.id, name: serviceTokens.name });
          return removed === undefined ? notFound("service token", call.params.token) : ok({ details: removed });
        },
      }),
  );
}
