import { z } from "@hono/zod-openapi";
import { leaveHost } from "../../db/hosts.ts";
import { claimSubject, enqueueOperation, openOperation, withdrawalSubject } from "../../db/operations.ts";
import { findTenant, lockTenant } from "../../db/tenants.ts";
import type { TenantAndCluster } from "../../db/tenants.ts";
import { ok } from "../../shared/result.ts";
import { beginChange } from "../begin-change.ts";
import { NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import type { ConsoleApp } from "../respond.ts";
import { claimHost, dropClaim, hostView, readCustomHost, reopenClaim, showHost, showHosts } from "../tenant-hosts.ts";
import { operationView } from "../views.ts";
import { started, tenantParams } from "./tenants.ts";

const hostParams = tenantParams.extend({ host: z.string().max(300) });
const begun = z.object({ operation: operationView, host: hostView }).openapi("HostOperation");

export function tenantHostRoutes(app: ConsoleApp): void {
  const common = { ...NO_INPUT, tag: "tenants" } as const;

  read(
    app,
    {
      ...common,
      method: "get",
      path: "/tenants/{tenant}/hosts",
      summary: "List its hosts, with the records that prove its own ones",
      scope: "read",
      status: 200,
      params: tenantParams,
      answer: z.object({ items: z.array(hostView) }),
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      return ok({ body: { items: await showHosts(db, found) } });
    },
  );

  write(
    app,
    {
      ...common,
      method: "post",
      path: "/tenants/{tenant}/hosts",
      summary: "Claim a host of its own: answers the DNS records that prove it, and looks for them",
      scope: "write",
      status: 202,
      params: tenantParams,
      body: z
        .strictObject({ host: z.string().max(300).openapi({ description: "Any spelling, without port" }) })
        .openapi("NewHost"),
      answer: begun,
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, body, now }) => {
      const named = await readCustomHost(tx, body.host);
      if (!named.ok) return named;
      const found = await lockTenant(tx, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      if (found.tenant.state !== "active" && found.tenant.state !== "suspended")
        return fail("conflict", `The tenant is ${found.tenant.state}; this needs it to be active or suspended.`);
      const claimed = await claimHost(tx, found, named.value, now);
      if (!claimed.ok) return claimed;
      return await check(tx, found, named.value, "tenant.claim-host", now);
    },
  );

  write(
    app,
    {
      ...common,
      method: "post",
      path: "/tenants/{tenant}/hosts/{host}/check",
      summary: "Look for a host's proof now, also where that was given up",
      scope: "write",
      status: 202,
      params: hostParams,
      answer: begun,
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, now }) => {
      const named = await readCustomHost(tx, params.host);
      if (!named.ok) return named;
      const found = await lockTenant(tx, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const reopened = await reopenClaim(tx, found.tenant.id, named.value, now);
      if (!reopened.ok) return reopened;
      return await check(tx, found, named.value, "tenant.check-host", now);
    },
  );

  write(
    app,
    {
      ...common,
      method: "delete",
      path: "/tenants/{tenant}/hosts/{host}",
      summary: "Remove a host of its own; claimed again, it has to be proven anew",
      scope: "write",
      status: 202,
      params: hostParams,
      answer: started,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    async (tx, call, ifMatch) => {
      const named = await readCustomHost(tx, call.params.host);
      if (!named.ok) return named;
      const host = named.value;
      return await beginChange(tx, call, ifMatch, {
        kind: "tenant-hosts",
        from: ["active", "suspended"],
        whileBusy: "queue",
        apply: async ({ id }) => {
          if (!(await dropClaim(tx, id, host))) return notFound("custom host", host);
          if (!(await leaveHost(tx, id, host, call.now))) return ok({ details: { host }, steps: ["settle-hosts"] });
          // What is under way may wait for its node; visitors must not find the host for so long.
          const isHeldUp = (await openOperation(tx, id)) !== null;
          const withdrawal = { kind: "host-withdraw", subjectId: withdrawalSubject(id), tenantId: id } as const;
          const furtherOperations = isHeldUp ? [await enqueueOperation(tx, { ...withdrawal, now: call.now })] : [];
          return ok({ details: { host }, furtherOperations });
        },
      });
    },
  );

  const check = async (
    tx: Parameters<typeof lockTenant>[0],
    found: TenantAndCluster,
    host: string,
    action: string,
    now: Date,
  ) => {
    const { id: tenantId, slug } = found.tenant;
    const operation = await enqueueOperation(tx, {
      kind: "host-check",
      subjectId: claimSubject.of(tenantId, host),
      tenantId,
      now,
    });
    return ok({
      body: { operation: await shownOperation(tx, operation), host: await showHost(tx, found, host) },
      headers: { location: operationLocation(operation) },
      audit: { action, subjectId: tenantId, tenantId, details: { slug, host } },
      operation,
    });
  };
}
