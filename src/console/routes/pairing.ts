import { z } from "@hono/zod-openapi";
import { eq } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { relaySettingsOf } from "../../db/relay-settings.ts";
import { connectorKeys, connectors } from "../../db/schema.ts";
import { findTenant, tenantName, type TenantAndCluster } from "../../db/tenants.ts";
import type { PairingRequest } from "../../protocol/lane.ts";
import { ok, type Result } from "../../shared/result.ts";
import { changeRelay } from "../change-relay.ts";
import { accepted, connectorStarted } from "../connector-change.ts";
import { NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound, type Failure } from "../failure.ts";
import { askLanes } from "../lanes.ts";
import { DEFAULT_PAIRING_MINUTES, MAX_PAIRING_MINUTES, MAX_TARGETS_PER_CONNECTOR } from "../limits.ts";
import { target } from "../names.ts";
import { insertConnector } from "../new-connector.ts";
import type { ConsolePorts } from "../ports.ts";
import { relayView } from "../relay-view.ts";
import type { ConsoleApp } from "../respond.ts";
import { operationView } from "../views.ts";
import { tenantParams as params } from "./tenants.ts";

const requestView = z
  .object({
    id: z.string().openapi({ description: "Thumbprint of its key: compare it with what the connector shows" }),
    connector: z.string(),
    software: z.string(),
    clientAddress: z.string().nullable(),
    at: z.iso.datetime(),
  })
  .openapi("PairingRequest");

/** The window in which unknown connectors may ask to be let in, and what is decided about them (H85). */
export function pairingRoutes(app: ConsoleApp): void {
  const tag = "relay";
  const change = { ...NO_INPUT, tag, scope: "write", refusals: ["not-found", "conflict"] } as const;
  const requestParams = params.extend({ request: z.string() });
  const window = z.object({ operation: operationView, relay: relayView });

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tenants/{tenant}/pairing",
      tag,
      summary: "Whether the window is open, and who asks",
      scope: "read",
      status: 200,
      params,
      answer: z.object({ until: z.iso.datetime().nullable(), items: z.array(requestView) }),
      refusals: ["not-found"],
    },
    async (db, { params, ports, now }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const until = await openUntil(db, found.tenant.id, now);
      if (until === null) return ok({ body: { until: null, items: [] } });
      const asking = await requestsOf(db, ports, found.tenant.id);
      if (!asking.ok) return asking;
      const items = asking.value.map(({ id, connector, software, clientAddress, atMs }) => ({
        id,
        connector,
        software,
        clientAddress,
        at: new Date(atMs).toISOString(),
      }));
      return ok({ body: { until: until.toISOString(), items } });
    },
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/pairing",
      summary: "Open the window for some minutes, or close it with 0",
      status: 202,
      params,
      body: z
        .strictObject({ minutes: z.number().int().min(0).max(MAX_PAIRING_MINUTES).default(DEFAULT_PAIRING_MINUTES) })
        .openapi("PairingWindow"),
      answer: window,
    },
    (tx, call, ifMatch) =>
      changeRelay(tx, call, ifMatch, "relay.pairing", async () => {
        const { minutes } = call.body;
        const pairingUntil = minutes === 0 ? null : new Date(call.now.getTime() + minutes * 60_000);
        return ok({ set: { pairingUntil }, details: { minutes } });
      }),
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/pairing/{request}/accept",
      summary: "Let a connector in: it is registered with the key that it brought",
      status: 202,
      params: requestParams,
      body: z
        .strictObject({ targets: z.array(target).max(MAX_TARGETS_PER_CONNECTOR).nullable().default(null) })
        .openapi("PairingAcceptance"),
      answer: connectorStarted,
    },
    async (tx, { params, body, ports, now }) => {
      const asked = await findRequest(tx, ports, params, now);
      if (!asked.ok) return asked;
      const { request, found } = asked.value;
      const { id: tenantId, state } = found.tenant;
      if (state === "deleting") return fail("conflict", "The tenant is being deleted.");
      // It stays with the lane until the window closes: by its key the lane knows that it was accepted.
      const wanted = { tenantId, name: request.connector, targets: body.targets, key: request.key, secret: undefined };
      const made = await insertConnector(tx, wanted, now);
      const details = { name: request.connector, kid: request.key.kid, clientAddress: request.clientAddress };
      const tenant = tenantName(found.tenant.slug, found.cluster);
      return accepted(tx, made, tenant, { action: "connector.pairing-accept", details });
    },
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/pairing/{request}/reject",
      summary: "Send a connector that asks away",
      status: 200,
      params: requestParams,
      answer: z.object({ rejected: z.string() }),
    },
    async (tx, { params, ports, now }) => {
      const asked = await findRequest(tx, ports, params, now);
      if (!asked.ok) return asked;
      const { request, found } = asked.value;
      const tenantId = found.tenant.id;
      const told = await askLanes(ports, tenantId, (lane) => lane.settlePairing(request.id));
      if (!told.ok) return told;
      return ok({
        body: { rejected: request.id },
        audit: {
          action: "connector.pairing-reject",
          subjectId: tenantId,
          tenantId,
          details: { name: request.connector, kid: request.key.kid, clientAddress: request.clientAddress },
        },
      });
    },
  );
}

async function openUntil(db: Db, tenantId: string, now: Date): Promise<Date | null> {
  const until = (await relaySettingsOf(db, tenantId))?.pairingUntil ?? null;
  return until !== null && until > now ? until : null;
}

/** Who asks at either lane, oldest first; whoever was accepted meanwhile is none of them. */
async function requestsOf(db: Db, ports: ConsolePorts, tenantId: string): Promise<Result<PairingRequest[], Failure>> {
  const asked = await askLanes(ports, tenantId, (lane) => lane.pairingRequests());
  if (!asked.ok) return asked;
  const known = await db
    .select({ kid: connectorKeys.kid })
    .from(connectorKeys)
    .innerJoin(connectors, eq(connectors.id, connectorKeys.connectorId))
    .where(eq(connectors.tenantId, tenantId));
  const taken = new Set(known.map(({ kid }) => kid));
  const byId = new Map(asked.value.flat().map((request) => [request.id, request]));
  return ok([...byId.values()].filter(({ id }) => !taken.has(id)).toSorted((one, other) => one.atMs - other.atMs));
}

async function findRequest(
  db: Db,
  ports: ConsolePorts,
  { tenant, request: id }: { tenant: string; request: string },
  now: Date,
): Promise<Result<{ request: PairingRequest; found: TenantAndCluster }, Failure>> {
  const found = await findTenant(db, tenant);
  if (found === null) return notFound("tenant", tenant);
  if ((await openUntil(db, found.tenant.id, now)) === null)
    return fail("conflict", "The pairing window is closed. Open it, and let the connector ask again.");
  const asking = await requestsOf(db, ports, found.tenant.id);
  if (!asking.ok) return asking;
  const request = asking.value.find((one) => one.id === id);
  return request === undefined ? notFound("pairing request", id) : ok({ request, found });
}
