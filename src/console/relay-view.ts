import { z } from "@hono/zod-openapi";
import type { RelayIssuerRow, RelaySettingsRow } from "../db/relay-settings.ts";
import { relaySettings, type RelaySettings } from "../protocol/lane.ts";

/** What the API takes and shows of a tenant's relay. The defaults are those of protocol/lane.ts: no limit. */

const count = z.number().int().positive().nullable();
const ms = z
  .number()
  .int()
  .positive()
  .max(24 * 3_600_000)
  .nullable();
const limits = {
  concurrentRequests: count,
  requestsPerSecond: z.number().positive().nullable(),
  requestsPerSecondPerVisitor: z.number().positive().nullable(),
  bodyBytes: count,
  connectors: count,
};
const timeouts = { firstByteMs: ms, idleMs: ms, totalMs: ms };
const keepAliveMs = z.number().int().min(1_000).max(3_600_000).nullable();
const reconnectMaxMs = z.number().int().min(100).max(3_600_000).nullable();

/** Members that are left out: their default (PUT), or as they are (PATCH). */
export const relayBody = z
  .strictObject({
    limits: z.strictObject(limits).partial(),
    timeouts: z.strictObject(timeouts).partial(),
    waitForConnectorMs: z.number().int().min(0).max(60_000),
    keepAliveMs,
    reconnectMaxMs,
    tracing: z.boolean(),
  })
  .partial()
  .openapi("RelaySettings");

export const relayView = z
  .object({
    disabled: z.boolean(),
    limits: z.object(limits),
    timeouts: z.object(timeouts),
    waitForConnectorMs: z.number().int(),
    keepAliveMs: z.number().int().nullable(),
    reconnectMaxMs: z.number().int().nullable(),
    tracing: z.boolean(),
    pairingUntil: z.iso
      .datetime()
      .nullable()
      .openapi({ description: "Until when unknown connectors may ask; null: closed" }),
    revision: z.number().int(),
  })
  .openapi("Relay");

/** `row` null: nobody has set anything. */
export function viewRelay(row: RelaySettingsRow | null, now: Date): z.input<typeof relayView> {
  const settings: RelaySettings = relaySettings.parse(row?.settings ?? {});
  const until = row?.pairingUntil ?? null;
  return {
    ...settings,
    disabled: row?.disabled ?? false,
    pairingUntil: until !== null && until > now ? until.toISOString() : null,
    revision: row?.revision ?? 0,
  };
}

export const issuerView = z
  .object({
    issuer: z.string(),
    audience: z.string(),
    keys: z.array(z.string()).openapi({ description: "Ids of the keys that it published" }),
    fetchedAt: z.iso.datetime().nullable(),
    problem: z.string().nullable().openapi({ description: "Why its keys could not be fetched last" }),
  })
  .openapi("RelayIssuer");

export const viewIssuer = (row: RelayIssuerRow): z.input<typeof issuerView> => ({
  issuer: row.issuer,
  audience: row.audience,
  keys: row.keys.map(({ kid }) => kid),
  fetchedAt: row.fetchedAt?.toISOString() ?? null,
  problem: row.problem,
});
