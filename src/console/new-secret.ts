import { z } from "@hono/zod-openapi";
import { newId } from "../shared/ids.ts";
import type { Db } from "../db/client.ts";
import { connectorSecrets } from "../db/schema.ts";
import { newSecret, sha256Hex } from "../db/secrets.ts";
import { MIN_SECRET_CHARACTERS, MIN_SECRET_LENGTH } from "./limits.ts";

/** A time in the future at least when it is read; ISO 8601. */
export const moment = z.iso.datetime({ offset: true });

export const newSecretBody = z
  .strictObject({
    label: z.string().min(1).max(64).default("secret"),
    expiresAt: moment.nullable().default(null),
    value: z
      .string()
      .regex(/^[\x21-\x7e]+$/, "visible ASCII without blanks")
      .min(MIN_SECRET_LENGTH)
      .max(256)
      .refine((text) => new Set(text).size >= MIN_SECRET_CHARACTERS, "too easy to guess")
      .optional()
      .openapi({ description: "Default: 256 random bits. One of your own must be as hard to guess" }),
  })
  .openapi("NewConnectorSecret");

/** What is shown once. */
export const shownSecret = z
  .object({ id: z.string(), label: z.string(), secret: z.string(), expiresAt: z.iso.datetime().nullable() })
  .openapi("ShownSecret");

/** Keeps the hash only. */
export async function makeSecret(
  tx: Db,
  connectorId: string,
  wanted: z.output<typeof newSecretBody>,
  now: Date,
): Promise<z.input<typeof shownSecret>> {
  const id = newId("sec");
  const { label, value: secret = newSecret() } = wanted;
  const expiresAt = wanted.expiresAt === null ? null : new Date(wanted.expiresAt);
  const sha256 = await sha256Hex(secret);
  await tx.insert(connectorSecrets).values({ id, connectorId, sha256, label, expiresAt, createdAt: now });
  return { id, label, secret, expiresAt: expiresAt?.toISOString() ?? null };
}
