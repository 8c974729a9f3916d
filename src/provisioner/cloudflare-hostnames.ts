import { z } from "zod";
import type { DnsRecord } from "../policy/custom-host.ts";
import { err, ok, type Result } from "../shared/result.ts";
import type { Front, FrontProblem, HostFront } from "./host-front.ts";
import { FRONT_ANSWER_BYTES, FRONT_RETRY_AFTER_MS, FRONT_RETRY_AFTER_MAX_MS, FRONT_TIMEOUT_MS } from "./limits.ts";

/** Where custom hostnames are kept. */
export interface CloudflareSettings {
  /** https://api.cloudflare.com/client/v4 */
  readonly apiUrl: string;
  readonly zoneId: string;
  /** API token with "SSL and Certificates: Edit" for the zone. Never logged. */
  readonly token: string;
}

type Fetcher = (url: string, init: RequestInit) => Promise<Response>;

/** What we read of a custom hostname (Cloudflare API, "Custom Hostnames"); states come and go, so they are text. */
const customHostname = z.object({
  id: z.string().min(1).max(64),
  hostname: z.string(),
  status: z.string().nullish(),
  verification_errors: z.array(z.string()).nullish(),
  ownership_verification: z.object({ type: z.string(), name: z.string(), value: z.string() }).partial().nullish(),
  ssl: z
    .object({
      status: z.string().nullish(),
      validation_errors: z.array(z.object({ message: z.string().nullish() })).nullish(),
      validation_records: z
        .array(z.object({ txt_name: z.string().nullish(), txt_value: z.string().nullish() }))
        .nullish(),
    })
    .nullish(),
});
type CustomHostname = z.infer<typeof customHostname>;

const envelope = z.object({
  success: z.boolean(),
  errors: z.array(z.object({ code: z.number().nullish(), message: z.string().nullish() })).nullish(),
  result: z.unknown(),
});

/** "Duplicate custom hostname found." */
const DUPLICATE = 1406;
/** States that no waiting mends. */
const HOPELESS = /^(?:blocked|moved|deleted|test_blocked|test_failed|expired|inactive)$|_timed_out$/;

interface Refusal {
  readonly status: number;
  readonly codes: readonly number[];
  readonly problem: FrontProblem;
}

/**
 * Cloudflare for SaaS: a custom hostname a host, whose certificate Cloudflare gets and renews. It is asked for only once the host was proven
 * to us, so that nobody can use up the zone's allowance with hosts of others. Certificates are validated over HTTP, which works by itself as
 * soon as the host leads to the zone.
 */
export function createCloudflareFront(settings: CloudflareSettings, fetcher: Fetcher): HostFront {
  const base = `${settings.apiUrl.replace(/\/$/, "")}/zones/${settings.zoneId}/custom_hostnames`;

  async function call(method: string, path: string, body?: unknown): Promise<Result<unknown, Refusal>> {
    try {
      const response = await fetcher(`${base}${path}`, {
        method,
        headers: { authorization: `Bearer ${settings.token}`, "content-type": "application/json" },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        redirect: "manual",
        signal: AbortSignal.timeout(FRONT_TIMEOUT_MS),
      });
      const parsed = envelope.safeParse(parseJson(await boundedText(response)));
      const errors = parsed.success ? (parsed.data.errors ?? []) : [];
      if (response.ok && parsed.success && parsed.data.success) return ok(parsed.data.result);
      const words = errors.map(({ code, message }) => `${message ?? "no message"} (${code ?? "no code"})`).join("; ");
      return err({
        status: response.status,
        codes: errors.flatMap(({ code }) => code ?? []),
        problem: problemOf(response, words === "" ? `status ${response.status}` : words),
      });
    } catch (error) {
      const late = error instanceof Error && error.name === "TimeoutError";
      const reason = late ? "Cloudflare's API did not answer in time" : "Cloudflare's API can't be reached";
      return err({ status: 0, codes: [], problem: { kind: "away", reason } });
    }
  }

  async function find(host: string): Promise<Result<CustomHostname | null, Refusal>> {
    const listed = await call("GET", `?hostname=${encodeURIComponent(host)}`);
    if (!listed.ok) return listed;
    const items = z.array(customHostname).safeParse(listed.value);
    if (!items.success) return err(nonsense);
    return ok(items.data.find(({ hostname }) => hostname === host) ?? null);
  }

  async function byId(id: string): Promise<Result<CustomHostname | null, Refusal>> {
    const got = await call("GET", `/${encodeURIComponent(id)}`);
    if (!got.ok) return got.error.status === 404 ? ok(null) : got;
    return readOne(got.value);
  }

  async function ensure(host: string, id: string | null): Promise<Result<CustomHostname, Refusal>> {
    // What was made before may have been lost, or removed by hand.
    for (const look of [...(id === null ? [] : [() => byId(id)]), () => find(host)]) {
      const found = await look();
      if (!found.ok) return found;
      if (found.value !== null) return ok(found.value);
    }
    const made = await call("POST", "", {
      hostname: host,
      ssl: { method: "http", type: "dv", settings: { min_tls_version: "1.2" } },
    });
    if (made.ok) return readOne(made.value);
    if (!made.error.codes.includes(DUPLICATE)) return made;
    const found = await find(host);
    if (!found.ok) return found;
    return found.value === null ? made : ok(found.value);
  }

  return {
    async ensure(host, id) {
      const found = await ensure(host, id);
      return found.ok ? ok(frontOf(found.value)) : err(found.error.problem);
    },
    async remove(host, id) {
      let doomed = id;
      if (doomed === null) {
        const found = await find(host);
        if (!found.ok) return err(found.error.problem);
        doomed = found.value?.id ?? null;
      }
      if (doomed === null) return ok(null);
      const removed = await call("DELETE", `/${encodeURIComponent(doomed)}`);
      return removed.ok || removed.error.status === 404 ? ok(null) : err(removed.error.problem);
    },
  };
}

const nonsense: Refusal = {
  status: 0,
  codes: [],
  problem: { kind: "away", reason: "Cloudflare's API answered something unknown" },
};

function readOne(value: unknown): Result<CustomHostname, Refusal> {
  const parsed = customHostname.safeParse(value);
  return parsed.success ? ok(parsed.data) : err(nonsense);
}

function problemOf(response: Response, words: string): FrontProblem {
  if (response.status === 429) {
    const seconds = Number(response.headers.get("retry-after") ?? "");
    const wantedMs = seconds > 0 ? seconds * 1_000 : FRONT_RETRY_AFTER_MS;
    const retryAfterMs = Math.min(FRONT_RETRY_AFTER_MAX_MS, wantedMs);
    return { kind: "rate-limited", retryAfterMs, reason: "Cloudflare's API limits our requests" };
  }
  const reason = `Cloudflare: ${words}`;
  return response.status >= 400 && response.status < 500 ? { kind: "refused", reason } : { kind: "away", reason };
}

/** Both the host and its certificate have to be active. */
function frontOf({
  id,
  status,
  ssl,
  verification_errors: errors,
  ownership_verification: owner,
}: CustomHostname): Front {
  const states = { host: status ?? "pending", certificate: ssl?.status ?? "initializing" };
  if (states.host === "active" && states.certificate === "active")
    return { id, state: "active", reason: null, records: [] };
  const waits = Object.entries(states).filter(([, state]) => state !== "active");
  const words = [
    ...waits.map(([what, state]) => `${what} ${state}`),
    ...(errors ?? []),
    ...(ssl?.validation_errors ?? []).flatMap(({ message }) => message ?? []),
  ];
  const records: DnsRecord[] = [];
  if (owner?.type === "txt" && owner.name !== undefined && owner.value !== undefined)
    records.push({ type: "TXT", name: owner.name, value: owner.value });
  for (const { txt_name: name, txt_value: value } of ssl?.validation_records ?? [])
    if (typeof name === "string" && typeof value === "string") records.push({ type: "TXT", name, value });
  const hopeless = waits.some(([, state]) => HOPELESS.test(state));
  return { id, state: hopeless ? "failed" : "pending", reason: words.join("; "), records };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > FRONT_ANSWER_BYTES) return "";
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
