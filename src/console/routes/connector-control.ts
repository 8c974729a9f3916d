import { z } from "@hono/zod-openapi";
import { ok } from "../../shared/result.ts";
import { accepted, connectorParams, connectorStarted, findConnector, republish } from "../connector-change.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { askLanes } from "../lanes.ts";
import { MAX_CONFIG_CHARACTERS } from "../limits.ts";
import type { ConsoleApp } from "../respond.ts";

const config = z.record(z.string(), z.unknown());
const configBody = z
  .strictObject({
    config: config.nullable().openapi({ description: "Targets as in docs/connector.md; null: its own files only" }),
  })
  .openapi("ConnectorConfig");

const configAnswer = z
  .object({
    revision: z.number().int(),
    config: config.nullable(),
    instances: z.array(
      z.object({
        instanceId: z.string(),
        lane: z.enum(["a", "b"]),
        revision: z.number().int().nullable().openapi({ description: "Newest that it has answered; null: none yet" }),
        applied: z.boolean(),
        reason: z.string().nullable().openapi({ description: "Why it refused it" }),
      }),
    ),
  })
  .openapi("ConnectorConfigState");

/** Orders to a connector that is online: configuration pushed to it, and being sent away. */
export function connectorControlRoutes(app: ConsoleApp): void {
  const tag = "connectors";

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/connectors/{connector}/config",
      tag,
      summary: "Show the configuration that was pushed to it, and what each live instance made of it",
      scope: "read",
      status: 200,
      params: connectorParams,
      answer: configAnswer,
      refusals: ["not-found"],
    },
    async (db, { params, ports }) => {
      const found = await findConnector(db, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const { connector } = found;
      const live = await askLanes(ports, connector.tenantId, (lane) => lane.sessions());
      if (!live.ok) return live;
      const instances = live.value
        .flat()
        .filter(({ connectorId }) => connectorId === connector.id)
        .map(({ instanceId, lane, configured }) => ({
          instanceId,
          lane,
          revision: configured?.revision ?? null,
          applied: configured?.ok === true && configured.revision === connector.configRevision,
          reason: configured?.ok === false ? configured.reason : null,
        }));
      const pushed: unknown = connector.config === null ? null : JSON.parse(connector.config);
      const headers = { etag: etagOf(connector.revision) };
      return ok({ body: { revision: connector.configRevision, config: pushed, instances }, headers });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "put",
      path: "/connectors/{connector}/config",
      tag,
      scope: "write",
      status: 202,
      summary: "Push a configuration to all its instances, those that are online at once; or withdraw it",
      params: connectorParams,
      body: configBody,
      answer: connectorStarted,
      refusals: ["not-found", "body-too-large", "precondition-failed"],
    },
    async (tx, { params, body, now }, ifMatch) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const matched = ifMatch(etagOf(found.connector.revision));
      if (!matched.ok) return matched;
      const text = body.config === null ? null : JSON.stringify(body.config);
      if (text !== null && text.length > MAX_CONFIG_CHARACTERS)
        return fail("body-too-large", `A configuration has at most ${MAX_CONFIG_CHARACTERS} characters.`);
      const set = { config: text, configRevision: found.connector.configRevision + 1 };
      const changed = await republish(tx, found.connector.id, "connector-publish", set, now);
      return accepted(tx, changed, found.tenant, {
        action: "connector.config-push",
        details: { configRevision: changed.row.configRevision },
      });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/connectors/{connector}/kick",
      tag,
      scope: "write",
      status: 200,
      summary: "End its live sockets, or those of one instance; it may dial again at once",
      params: connectorParams,
      body: z
        .strictObject({ instanceId: z.string().min(1).max(128).nullable().default(null) })
        .openapi("ConnectorKick"),
      answer: z.object({ ended: z.number().int() }),
      refusals: ["not-found"],
    },
    async (tx, { params, body, ports }) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const { id, tenantId } = found.connector;
      const ended = await askLanes(ports, tenantId, (lane) => lane.kick(id, body.instanceId));
      if (!ended.ok) return ended;
      const total = ended.value.reduce((sum, one) => sum + one, 0);
      return ok({
        body: { ended: total },
        audit: { action: "connector.kick", subjectId: id, tenantId, details: { ...body, ended: total } },
      });
    },
  );
}
