import { z } from "zod";
import {
  CONTROL_JSON_BYTES_MAX,
  MESSAGE_BYTES_MAX,
  MESSAGE_BYTES_MIN,
  REASON_CHARACTERS_MAX,
  STREAM_WINDOW_BYTES_MAX,
  STREAM_WINDOW_BYTES_MIN,
  TARGET_BYTES_MAX,
  TARGETS_MAX,
  TOKEN_BYTES_MAX,
} from "./limits.ts";

/** Rare frames of the session carry JSON. Unknown members are ignored, so later versions can add some. */
export const VERSION = { min: 1, max: 1 } as const;

const reason = z.string().max(REASON_CHARACTERS_MAX);
const targets = z.array(z.string().min(1).max(TARGET_BYTES_MAX)).max(TARGETS_MAX);
const bytes = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

export const sessionLimits = z.object({
  messageBytes: z.number().int().min(MESSAGE_BYTES_MIN).max(MESSAGE_BYTES_MAX),
  streamWindowBytes: z.number().int().min(STREAM_WINDOW_BYTES_MIN).max(STREAM_WINDOW_BYTES_MAX),
  sessionWindowBytes: z.number().int().min(STREAM_WINDOW_BYTES_MIN).max(0x7fffffff),
  streams: z.number().int().min(0).max(65_535),
  wsMessageBytes: bytes,
});

export const hello = z.object({
  versions: z.object({ min: z.number().int(), max: z.number().int() }),
  features: z.array(z.string().max(64)).max(64),
  limits: sessionLimits,
  instanceId: z.string().max(64),
  targets,
  sessionId: z.string().max(64),
  software: z.string().max(128),
});
export type Hello = z.infer<typeof hello>;

export const targetsNotice = z.object({ targets });
export const goAwayNotice = z.object({ graceMs: bytes, reconnectMinMs: bytes, reconnectMaxMs: bytes, reason });
export const reasonNotice = z.object({ reason });
export const reportNotice = z.object({ load: z.number().min(0).max(1), unhealthy: targets });
/** RFC 6750: what a bearer token is made of. */
export const TOKEN_TEXT = /^[A-Za-z0-9\-._~+/]+=*$/;
export const tokenNotice = z.object({ token: z.string().max(TOKEN_BYTES_MAX).regex(TOKEN_TEXT) });
export const tokenOkNotice = z.object({ lifetimeMs: bytes });
export const configNotice = z.object({
  revision: bytes,
  targetsJson: z.string().nullable(),
  keepAliveMs: bytes.nullable(),
  reconnectMaxMs: bytes.nullable(),
  leaveInMs: bytes.nullable(),
});
export const configAckNotice = z.object({ revision: bytes, ok: z.boolean(), reason });

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

export const encodeJson = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

/** Null when it is too long, not UTF-8, not JSON or not of the schema. */
export function decodeJson<T>(schema: z.ZodType<T>, payload: Uint8Array, bytesMax = CONTROL_JSON_BYTES_MAX): T | null {
  if (payload.length > bytesMax) return null;
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(payload));
  } catch {
    return null;
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : null;
}

/** At most `bytes` bytes of the text as UTF-8, cut between characters. */
export function utf8Within(text: string, bytes: number): Uint8Array {
  const whole = encoder.encode(text);
  if (whole.length <= bytes) return whole;
  let end = bytes;
  while (end > 0 && ((whole[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return whole.subarray(0, end);
}

const lenient = new TextDecoder();
export const utf8Text = (payload: Uint8Array): string => lenient.decode(payload);
