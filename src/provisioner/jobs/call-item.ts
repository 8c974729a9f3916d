import type { CallAnswer, JobAction, JobDefinition, TenantCall } from "../../protocol/jobs.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { JOB_REASON_CHARACTERS } from "../limits.ts";
import { type AccessToken, readToken, tokenRequest } from "./access-token.ts";
import type { CallOutcome } from "./machine.ts";
import type { ActiveRun } from "./state.ts";
import { fillAddress, fillBody, type ItemValues } from "./template.ts";
import { signWebhook } from "./webhook-signature.ts";

/** What a call needs of the world. */
export interface CallPorts {
  /** Through the edge, to a target or service of the tenant. Rejects when nobody answers in time. */
  callTenant(call: TenantCall): Promise<CallAnswer>;
  /** To a public address. An error is why it may not be called or did not answer. */
  callPublic(request: PublicCall): Promise<Result<CallAnswer, string>>;
  /** A sealed secret of a job; null: it does not open. */
  open(sealed: string, context: string): Promise<string | null>;
  /** Access tokens by job, as long as the worker is in memory. */
  readonly tokens: Map<string, AccessToken>;
  clock(): number;
}

export interface PublicCall {
  readonly url: string;
  readonly method: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string | null;
  readonly timeoutMs: number;
}

interface Place {
  readonly tenantId: string;
  readonly tenant: string;
  readonly host: string;
}

export const sealContext = (jobId: string, use: "webhook" | "client"): string => `job:${jobId}:${use}`;

/** Makes the call of a run's current item, with a fresh access token where the job has one. Never rejects. */
export async function callItem(place: Place, run: ActiveRun, ports: CallPorts): Promise<CallOutcome> {
  const { definition } = run;
  try {
    if (definition.auth === null) return outcomeOf(await send(place, run, null, ports));
    const had = ports.tokens.get(definition.id);
    const token = await tokenOf(place, definition, ports);
    if (!token.ok) return token.error;
    const first = await send(place, run, token.value, ports);
    // A token may be ended before its time. What was refused for it did nothing, so it may be sent again, once.
    if (!first.ok || first.value.status !== 401 || had === undefined) return outcomeOf(first);
    ports.tokens.delete(definition.id);
    const renewed = await tokenOf(place, definition, ports);
    return renewed.ok ? outcomeOf(await send(place, run, renewed.value, ports)) : renewed.error;
  } catch (error) {
    return { kind: "failed", reason: shortened(error instanceof Error ? error.message : "no answer") };
  }
}

async function tokenOf(
  place: Place,
  definition: JobDefinition,
  ports: CallPorts,
): Promise<Result<string, CallOutcome>> {
  const { auth, action, id, sealed, timeoutMs } = definition;
  const held = ports.tokens.get(id);
  if (held !== undefined && held.renewAtMs > ports.clock()) return ok(held.value);
  const secret = sealed.client === null ? null : await ports.open(sealed.client, sealContext(id, "client"));
  if (auth === null || secret === null) return err({ kind: "failed", reason: "the client's secret is not set" });
  const { headers, body } = tokenRequest(auth, secret);
  const answer = auth.tokenUrl.startsWith("/")
    ? await toTenant(place, definition, { ...action, method: "POST" }, auth.tokenUrl, headers, body, ports)
    : await ports.callPublic({ url: auth.tokenUrl, method: "POST", headers, body, timeoutMs });
  if (!answer.ok) return err({ kind: "failed", reason: `no access token: ${answer.error}` });
  if (answer.value.status !== 200) {
    const outcome = outcomeOf(answer);
    return err(outcome.kind === "done" ? { kind: "failed", reason: "no access token" } : withPrefix(outcome));
  }
  const token = readToken(answer.value, ports.clock());
  if (token === null) return err({ kind: "failed", reason: "no access token: the answer is none that can be used" });
  ports.tokens.set(id, token);
  return ok(token.value);
}

const withPrefix = (outcome: Exclude<CallOutcome, { kind: "done" }>): CallOutcome => ({
  ...outcome,
  reason: `no access token: ${outcome.reason}`,
});

async function send(
  place: Place,
  run: ActiveRun,
  token: string | null,
  ports: CallPorts,
): Promise<Result<CallAnswer, string>> {
  const { definition, record } = run;
  const { action } = definition;
  const values = valuesOf(run);
  const headers: [string, string][] = [
    ...Object.entries(action.headers),
    ["job-id", record.jobId],
    ["job-run", record.runId],
    ["job-item", values.item],
    // The same whenever the item is sent again: who takes it can tell.
    ["idempotency-key", `${record.runId}.${values.item}`],
    ["job-until", values.until],
    ...(values.since === "" ? [] : [["job-since", values.since] satisfies [string, string]]),
    ...(values.page === "" ? [] : [["job-page", encodeURIComponent(values.page)] satisfies [string, string]]),
    ...(token === null ? [] : [["authorization", `Bearer ${token}`] satisfies [string, string]]),
  ];
  const mayHaveBody = action.method !== "GET" && action.method !== "HEAD";
  const body = mayHaveBody && action.body !== null ? fillBody(action.body, values) : null;
  const sent = body ?? (mayHaveBody && action.kind === "webhook" ? description(place, run, values) : null);
  if (sent !== null && !headers.some(([name]) => name.toLowerCase() === "content-type"))
    headers.push(["content-type", "application/json"]);
  if (action.kind !== "webhook")
    return await toTenant(place, definition, action, fillAddress(action.path, values), headers, sent, ports);
  const { sealed, timeoutMs, id } = definition;
  const secret = sealed.webhook === null ? null : await ports.open(sealed.webhook, sealContext(id, "webhook"));
  if (secret === null) return err("the webhook's signing key can't be read");
  const messageId = `${record.runId}.${values.item}`;
  headers.push(...(await signWebhook(secret, messageId, ports.clock(), sent ?? "")).map(pair));
  const url = fillAddress(action.url, values);
  return await ports.callPublic({ url, method: action.method, headers, body: sent, timeoutMs });
}

const pair = ([name, value]: readonly [string, string]): [string, string] => [name, value];

async function toTenant(
  { host, tenantId }: Place,
  { id, timeoutMs }: JobDefinition,
  action: JobAction,
  path: string,
  headers: [string, string][],
  body: string | null,
  ports: CallPorts,
): Promise<Result<CallAnswer, string>> {
  if (action.kind === "webhook") return err("a webhook has no paths of the tenant");
  const to =
    action.kind === "target"
      ? ({ kind: "target", target: action.target } as const)
      : ({ kind: "service", service: action.service } as const);
  const call = { host, tenantId, jobId: id, to, method: action.method, path, headers, body, timeoutMs };
  return ok(await ports.callTenant(call));
}

/** What a webhook without a body of its own says. */
const description = (place: Place, { record, definition }: ActiveRun, values: ItemValues): string =>
  JSON.stringify({
    type: "job.run",
    tenant: place.tenant,
    job: definition.name,
    jobId: record.jobId,
    runId: record.runId,
    trigger: record.trigger,
    item: record.items + 1,
    page: values.page === "" ? null : values.page,
    since: values.since === "" ? null : values.since,
    until: values.until,
  });

function valuesOf({ record, page }: ActiveRun): ItemValues {
  return {
    since: record.sinceMs === null ? "" : new Date(record.sinceMs).toISOString(),
    until: new Date(record.startedAtMs ?? record.queuedAtMs).toISOString(),
    page: page ?? "",
    run: record.runId,
    item: String(record.items + 1),
  };
}

function outcomeOf(result: Result<CallAnswer, string>): CallOutcome {
  if (!result.ok) return { kind: "failed", reason: shortened(result.error) };
  const { status } = result.value;
  const headers = new Map(result.value.headers);
  if (status >= 200 && status < 300) {
    const next = headers.get("job-next") ?? "";
    if (next.length > 1_000) return { kind: "failed", reason: "the answer's job-next is too long" };
    const count = headers.get("job-count") ?? "";
    const records = /^[0-9]{1,9}$/.test(count) ? Number(count) : 0;
    return { kind: "done", next: next === "" ? null : next, records, note: `status ${status}` };
  }
  const reason = describeRefusal(result.value, headers.get("causeway-error") ?? null);
  if (status === 429 || status === 503)
    return { kind: "busy", retryAfterMs: retryAfterMs(headers.get("retry-after")), reason };
  return { kind: "failed", reason };
}

/** Only seconds: a date would need the other clock. */
const retryAfterMs = (value: string | undefined): number | null =>
  value !== undefined && /^[0-9]{1,6}$/.test(value) ? Number(value) * 1_000 : null;

/** Status, and for an error of ours its code and words. Somebody else's body may hold anything, and is not repeated. */
function describeRefusal({ status, body }: CallAnswer, code: string | null): string {
  if (code === null)
    return status >= 300 && status < 400 ? `status ${status}: redirects are not followed` : `status ${status}`;
  try {
    const problem: unknown = JSON.parse(body);
    if (typeof problem === "object" && problem !== null && "detail" in problem && typeof problem.detail === "string")
      return shortened(`${status} ${code}: ${problem.detail}`);
  } catch {
    // Then the code alone says it.
  }
  return `${status} ${code}`;
}

const shortened = (text: string): string => text.slice(0, JOB_REASON_CHARACTERS);
