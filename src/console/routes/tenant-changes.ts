import { z } from "@hono/zod-openapi";
import { revokeSessions } from "../../policy/revocation.ts";
import { ok } from "../../shared/result.ts";
import { beginChange, toState } from "../begin-change.ts";
import { NO_INPUT, write } from "../endpoint.ts";
import { replaceRoutes, routeList } from "../route-list.ts";
import type { ConsoleApp } from "../respond.ts";
import { started, tenantParams } from "./tenants.ts";

/** Changes of a tenant that are operations of the provisioner. */
export function tenantChangeRoutes(app: ConsoleApp): void {
  const change = {
    ...NO_INPUT,
    tag: "tenants",
    scope: "write",
    status: 202,
    params: tenantParams,
    answer: started,
    refusals: ["not-found", "conflict", "precondition-failed"],
  } as const;

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/suspend",
      summary: "Show visitors a page instead of the tenant",
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        kind: "tenant-suspend",
        from: ["active"],
        whileBusy: "refuse",
        apply: toState("suspended"),
      }),
  );

  write(
    app,
    { ...change, method: "post", path: "/tenants/{tenant}/resume", summary: "End a suspension" },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        kind: "tenant-resume",
        from: ["suspended"],
        whileBusy: "refuse",
        apply: toState("active"),
      }),
  );

  write(
    app,
    {
      ...change,
      method: "delete",
      path: "/tenants/{tenant}",
      summary: "Delete a tenant and all its data",
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        kind: "tenant-delete",
        from: ["provisioning", "active", "suspended", "failed"],
        // Whatever is under way may wait for a node that never comes; it is moot now.
        whileBusy: "supersede",
        apply: toState("deleting"),
      }),
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/sessions/revoke",
      summary: "End the sessions of everybody, or of one person, on the tenant's hosts",
      body: z
        .strictObject({
          accountId: z
            .string()
            .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, "not an account's id")
            .optional()
            .openapi({ description: "Default: everybody" }),
        })
        .openapi("SessionRevocation"),
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        kind: "tenant-revoke-sessions",
        from: ["active", "suspended"],
        // Taken in any case: whatever is published first from now on ends them already.
        whileBusy: "queue",
        apply: async ({ accessRevision, notBefore }) => {
          const accountId = call.body.accountId ?? null;
          const nowSeconds = Math.floor(call.now.getTime() / 1_000);
          return ok({
            set: revokeSessions({ accessRevision, notBefore }, accountId, nowSeconds),
            details: { accountId },
          });
        },
      }),
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/credentials/rotate",
      summary: "Give its services a new login of its database; the old one ends when they have the new one",
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        kind: "tenant-rotate-credentials",
        from: ["active", "suspended"],
        whileBusy: "refuse",
        apply: async () => ok({}),
      }),
  );

  write(
    app,
    {
      ...change,
      method: "put",
      path: "/tenants/{tenant}/routes",
      summary: "Replace its routes, all of them",
      body: z.strictObject({ items: routeList }).openapi("Routes"),
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        kind: "tenant-routes",
        from: ["active", "suspended"],
        whileBusy: "refuse",
        apply: (tenant) => replaceRoutes(tx, tenant.id, call.body.items),
      }),
  );
}
