import { z } from "@hono/zod-openapi";
import { and, asc, count, eq } from "drizzle-orm";
import { connectorSecrets } from "../../db/schema.ts";
import { ok } from "../../shared/result.ts";
import { accepted, connectorParams, connectorStarted, findConnector, republish } from "../connector-change.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { MAX_SECRETS_PER_CONNECTOR } from "../limits.ts";
import { makeSecret, newSecretBody, shownSecret } from "../new-secret.ts";
import type { ConsoleApp } from "../respond.ts";
import { secretView, viewSecret } from "../views.ts";

/** Client secrets of a connector: several are good at once, so that one is replaced without a gap (R07). */
export function connectorSecretRoutes(app: ConsoleApp): void {
  const tag = "connectors";

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/connectors/{connector}/secrets",
      tag,
      summary: "List its client secrets, masked",
      scope: "read",
      status: 200,
      params: connectorParams,
      answer: z.object({ items: z.array(secretView) }),
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findConnector(db, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const rows = await db
        .select()
        .from(connectorSecrets)
        .where(eq(connectorSecrets.connectorId, found.connector.id))
        .orderBy(asc(connectorSecrets.createdAt), asc(connectorSecrets.id));
      return ok({ body: { items: rows.map(viewSecret) } });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/connectors/{connector}/secrets",
      tag,
      scope: "write",
      status: 202,
      summary: "Add a client secret, shown this once; the others stay valid until they are removed",
      params: connectorParams,
      body: newSecretBody,
      answer: connectorStarted.extend({ secret: shownSecret }),
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, body, now }) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const connectorId = found.connector.id;
      const changed = await republish(tx, connectorId, "connector-publish", {}, now);
      const secret = await makeSecret(tx, connectorId, body, now);
      const [held] = await tx
        .select({ n: count() })
        .from(connectorSecrets)
        .where(eq(connectorSecrets.connectorId, connectorId));
      if ((held?.n ?? 0) > MAX_SECRETS_PER_CONNECTOR)
        return fail("conflict", `A connector has at most ${MAX_SECRETS_PER_CONNECTOR} secrets. Remove one first.`);
      const details = { secret: secret.id, label: secret.label };
      return accepted(tx, changed, found.tenant, { action: "connector.secret-add", details }, { secret });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "delete",
      path: "/connectors/{connector}/secrets/{secret}",
      tag,
      scope: "write",
      status: 202,
      summary: "Remove a client secret: sockets that were proved with it end, nobody gets a token with it any more",
      params: connectorParams.extend({ secret: z.string() }),
      answer: connectorStarted,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    async (tx, { params, now }, ifMatch) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const matched = ifMatch(etagOf(found.connector.revision));
      if (!matched.ok) return matched;
      const changed = await republish(tx, found.connector.id, "connector-publish", {}, now);
      const [removed] = await tx
        .delete(connectorSecrets)
        .where(and(eq(connectorSecrets.connectorId, found.connector.id), eq(connectorSecrets.id, params.secret)))
        .returning({ secret: connectorSecrets.id });
      if (removed === undefined) return notFound("secret", params.secret);
      return accepted(tx, changed, found.tenant, { action: "connector.secret-remove", details: removed });
    },
  );
}
