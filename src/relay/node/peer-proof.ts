import { createHmac, timingSafeEqual } from "node:crypto";
import { z } from "zod";

/** What one lane's process tells the other about a request that it passes on. The other believes nothing else of it but this. */
const passed = z.object({
  /** Milliseconds since the epoch. */
  at: z.number(),
  requestId: z.string().max(64),
  traceparent: z.string().max(64),
  clientAddress: z.string().max(64).nullable(),
  scheme: z.enum(["http", "https"]),
});
export type PassedOn = Omit<z.infer<typeof passed>, "at">;

/** Header of a request between the two processes. Visitors' own never pass (policy/headers.ts). */
export const PEER_HEADER = "causeway-peer";

/** Longer than two clocks on one site differ, and than a connection takes. */
const LIFETIME_MS = 30_000;

interface About {
  readonly method: string;
  readonly host: string;
  readonly path: string;
}

export function signPassedOn(passedOn: PassedOn, about: About, secret: Buffer, nowMs: number): string {
  const payload = Buffer.from(JSON.stringify({ ...passedOn, at: nowMs })).toString("base64url");
  return `v1.${payload}.${signature(payload, about, secret).toString("base64url")}`;
}

/** Null: not from the peer, for another request, or too old. */
export function verifyPassedOn(header: string, about: About, secret: Buffer, nowMs: number): PassedOn | null {
  const [, payload, signed] = /^v1\.([A-Za-z0-9_-]{1,1024})\.([A-Za-z0-9_-]{43})$/.exec(header) ?? [];
  if (payload === undefined || signed === undefined) return null;
  if (!timingSafeEqual(Buffer.from(signed, "base64url"), signature(payload, about, secret))) return null;
  const parsed = passed.safeParse(JSON.parse(Buffer.from(payload, "base64url").toString()));
  if (!parsed.success || Math.abs(nowMs - parsed.data.at) > LIFETIME_MS) return null;
  const { at: _, ...rest } = parsed.data;
  return rest;
}

const signature = (payload: string, { method, host, path }: About, secret: Buffer): Buffer =>
  createHmac("sha256", secret)
    .update(JSON.stringify([payload, method, host, path]))
    .digest();
