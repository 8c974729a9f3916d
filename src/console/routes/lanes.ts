import { z } from "@hono/zod-openapi";
import { DRAIN_SUBJECT, enqueueOperation } from "../../db/operations.ts";
import { ok } from "../../shared/result.ts";
import { NO_INPUT, write } from "../endpoint.ts";
import { DRAIN_GRACE_SECONDS, DRAIN_GRACE_SECONDS_MAX } from "../limits.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import type { ConsoleApp } from "../respond.ts";
import { operationView } from "../views.ts";

const drain = z
  .strictObject({
    graceSeconds: z
      .number()
      .int()
      .min(1)
      .max(DRAIN_GRACE_SECONDS_MAX)
      .default(DRAIN_GRACE_SECONDS)
      .openapi({ description: "Open requests and WebSockets have so long; then they are cut" }),
  })
  .openapi("LaneDrain");

/** The sides of the relay, all tenants together. */
export function laneRoutes(app: ConsoleApp): void {
  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/relay/lanes/{lane}/drain",
      tag: "relay",
      summary:
        "Empty one side of the relay before it is redeployed: visitors and connectors go on at the other side. It takes nothing until it is redeployed, or five minutes after the grace",
      scope: "admin",
      status: 202,
      params: z.object({ lane: z.enum(["a", "b"]) }),
      body: drain,
      answer: z.object({ operation: operationView }),
    },
    async (tx, { params: { lane }, body: { graceSeconds }, now }) => {
      const operation = await enqueueOperation(tx, {
        kind: "relay-drain",
        subjectId: DRAIN_SUBJECT,
        tenantId: null,
        now,
        work: { lane, graceMs: graceSeconds * 1000 },
      });
      return ok({
        body: { operation: await shownOperation(tx, operation) },
        headers: { location: operationLocation(operation) },
        audit: { action: "relay.drain", subjectId: DRAIN_SUBJECT, tenantId: null, details: { lane, graceSeconds } },
        operation,
      });
    },
  );
}
