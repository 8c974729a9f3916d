import { z } from "@hono/zod-openapi";
import { and, eq, notInArray } from "drizzle-orm";
import { relayIssuersOf, relaySettingsOf } from "../../db/relay-settings.ts";
import { relayIssuers } from "../../db/schema.ts";
import { findTenant } from "../../db/tenants.ts";
import { isFetchableUrl } from "../../policy/issuer-url.ts";
import { relaySettings } from "../../protocol/lane.ts";
import { ok } from "../../shared/result.ts";
import { changeRelay } from "../change-relay.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { notFound } from "../failure.ts";
import { MAX_ISSUERS_PER_TENANT } from "../limits.ts";
import { issuerView, relayBody, relayView, viewIssuer, viewRelay } from "../relay-view.ts";
import type { ConsoleApp } from "../respond.ts";
import { operationView } from "../views.ts";
import { tenantParams as params } from "./tenants.ts";

const started = z.object({ operation: operationView, relay: relayView }).openapi("RelayOperation");

const issuers = z
  .strictObject({
    items: z
      .array(
        z.strictObject({
          issuer: z.string().max(255).refine(isFetchableUrl, "an https URL"),
          audience: z.string().min(1).max(255),
        }),
      )
      .max(MAX_ISSUERS_PER_TENANT)
      .refine((items) => new Set(items.map(({ issuer }) => issuer)).size === items.length, "an issuer stands twice"),
  })
  .openapi("RelayIssuers");

/** What a tenant's relay does: limits, timers, being on or off, and whom it trusts. Live connectors learn of changes at once (P21). */
export function relayRoutes(app: ConsoleApp): void {
  const change = {
    ...NO_INPUT,
    tag: "relay",
    scope: "write",
    status: 202,
    params,
    answer: started,
    refusals: ["not-found", "conflict", "precondition-failed"],
  } as const;

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tenants/{tenant}/relay",
      tag: "relay",
      summary: "Show the settings of a tenant's relay",
      scope: "read",
      status: 200,
      params,
      answer: relayView,
      refusals: ["not-found"],
    },
    async (db, { params, now }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const view = viewRelay(await relaySettingsOf(db, found.tenant.id), now);
      return ok({ body: view, headers: { etag: etagOf(view.revision) } });
    },
  );

  write(
    app,
    { ...change, method: "put", path: "/tenants/{tenant}/relay", summary: "Replace the settings", body: relayBody },
    (tx, call, ifMatch) =>
      changeRelay(tx, call, ifMatch, "relay.change", async () => {
        const settings = relaySettings.parse(call.body);
        return ok({ set: { settings }, details: { ...settings } });
      }),
  );

  write(
    app,
    { ...change, method: "patch", path: "/tenants/{tenant}/relay", summary: "Change some settings", body: relayBody },
    (tx, call, ifMatch) =>
      changeRelay(tx, call, ifMatch, "relay.change", async (row) => {
        const { limits, timeouts, ...rest } = call.body;
        const settings = relaySettings.parse({
          ...row.settings,
          ...rest,
          limits: { ...row.settings.limits, ...limits },
          timeouts: { ...row.settings.timeouts, ...timeouts },
        });
        return ok({ set: { settings }, details: { ...call.body } });
      }),
  );

  for (const [verb, disabled, summary] of [
    ["disable", true, "Switch a tenant's relay off: its connectors' sockets end, nobody dials in"],
    ["enable", false, "Switch it on again"],
  ] as const) {
    write(app, { ...change, method: "post", path: `/tenants/{tenant}/relay/${verb}`, summary }, (tx, call, ifMatch) =>
      changeRelay(tx, call, ifMatch, `relay.${verb}`, async () => ok({ set: { disabled } })),
    );
  }

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tenants/{tenant}/issuers",
      tag: "relay",
      summary: "List the outside issuers whose tokens prove its connectors, with their keys",
      scope: "read",
      status: 200,
      params,
      answer: z.object({ items: z.array(issuerView) }),
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      return ok({ body: { items: (await relayIssuersOf(db, found.tenant.id)).map(viewIssuer) } });
    },
  );

  write(
    app,
    {
      ...change,
      method: "put",
      path: "/tenants/{tenant}/issuers",
      summary: "Replace the outside issuers, all of them; their keys are fetched anew",
      body: issuers,
    },
    (tx, call, ifMatch) =>
      changeRelay(tx, call, ifMatch, "relay.issuers", async ({ tenantId }) => {
        const { items } = call.body;
        const kept = items.map(({ issuer }) => issuer);
        await tx
          .delete(relayIssuers)
          .where(
            and(
              eq(relayIssuers.tenantId, tenantId),
              kept.length === 0 ? undefined : notInArray(relayIssuers.issuer, kept),
            ),
          );
        for (const { issuer, audience } of items)
          await tx
            .insert(relayIssuers)
            .values({ tenantId, issuer, audience })
            .onConflictDoUpdate({
              target: [relayIssuers.tenantId, relayIssuers.issuer],
              // Without a time its keys are fetched by the operation; those that it has count until then.
              set: { audience, fetchedAt: null },
            });
        return ok({ details: { issuers: kept } });
      }),
  );
}
