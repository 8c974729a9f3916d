import { z } from "@hono/zod-openapi";
import type { Scope } from "../db/api-tokens.ts";
import { recordAudit } from "../db/audit.ts";
import type { Db } from "../db/client.ts";
import { markSent } from "../db/operations.ts";
import type { Enqueued } from "../db/operations.ts";
import { inputWords } from "../shared/input-words.ts";
import { PROBLEMS } from "../shared/problem.ts";
import type { ErrorCode } from "../shared/problem.ts";
import { ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import { authorize } from "./auth.ts";
import type { Caller } from "./auth.ts";
import { describeIssues, fail } from "./failure.ts";
import type { Failure } from "./failure.ts";
import { reserveKey } from "./idempotency.ts";
import { MAX_BODY_BYTES, MAX_IDEMPOTENCY_KEY_LENGTH } from "./limits.ts";
import type { ConsolePorts } from "./ports.ts";
import { answer, refuse } from "./respond.ts";
import type { ConsoleApp, ConsoleContext } from "./respond.ts";

/** One operation of the API: what the document says of it, and what its input must look like. */
interface Definition<Params extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodType> {
  readonly method: "get" | "post" | "put" | "patch" | "delete";
  /** With {parameters}, below /api/v1. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly scope: Scope;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly status: 200 | 201 | 202;
  readonly answer: z.ZodType;
  /** Refusals that are particular to it; 400, 401, 403, 500 and 503 go without saying. */
  readonly refusals?: readonly ErrorCode[];
}

interface Call<Params extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodType> {
  readonly ports: ConsolePorts;
  readonly params: z.output<Params>;
  readonly query: z.output<Query>;
  readonly body: z.output<Body>;
  readonly caller: Caller;
  readonly requestId: string;
  readonly now: Date;
}

export interface Answer {
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

export interface Written extends Answer {
  /** Every write is on record; the actor and the request are added. */
  readonly audit: { action: string; subjectId: string; tenantId: string | null; details: Record<string, unknown> };
  /** Work for the provisioner that was written in the same transaction; its message is sent after the commit. */
  readonly operation?: Enqueued;
  /** More such work, that the answer does not speak of. */
  readonly furtherOperations?: readonly Enqueued[];
}

const nothing = z.object({});
/** Start of a definition: takes no input that the definition does not name. */
export const NO_INPUT = { params: nothing, query: nothing, body: nothing };

/** Carries a refusal out of a transaction, which rolls back. */
class Refused extends Error {
  override readonly name = "Refused";
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.code);
    this.failure = failure;
  }
}

/** Answers a GET. */
export function read<Params extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodType>(
  app: ConsoleApp,
  definition: Definition<Params, Query, Body>,
  handle: (db: Db, call: Call<Params, Query, Body>) => Promise<Result<Answer, Failure>>,
): void {
  register(app, definition);
  app.on(definition.method, honoPath(definition.path), async (c) => {
    const call = await admit(c, definition, "");
    if (!call.ok) return refuse(c, call.error);
    const result = await handle(c.env.db, call.value);
    if (!result.ok) return refuse(c, result.error);
    return answer(c, { status: definition.status, headers: result.value.headers ?? {}, body: result.value.body });
  });
}

/**
 * Answers a change: handler, operation, outbox row, audit event and kept answer are one transaction; the queue is told right after it. With
 * an Idempotency-Key a repeated POST gets the first one's answer.
 */
export function write<Params extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodType>(
  app: ConsoleApp,
  definition: Definition<Params, Query, Body>,
  handle: (tx: Db, call: Call<Params, Query, Body>, ifMatch: IfMatch) => Promise<Result<Written, Failure>>,
): void {
  register(app, definition);
  app.on(definition.method, honoPath(definition.path), async (c) => {
    const text = await readBody(c);
    if (!text.ok) return refuse(c, text.error);
    const admitted = await admit(c, definition, text.value);
    if (!admitted.ok) return refuse(c, admitted.error);
    const call = admitted.value;
    const key = definition.method === "post" ? c.req.header("idempotency-key") : undefined;
    if (key !== undefined && !validKey(key))
      return refuse(c, {
        code: "bad-request",
        detail: `Idempotency-Key: 1 to ${MAX_IDEMPOTENCY_KEY_LENGTH} visible characters.`,
      });

    let enqueued: readonly Enqueued[] = [];
    try {
      const sent = await c.env.db.transaction(async (tx) => {
        const request = { method: c.req.method, path: c.req.path, body: text.value };
        const reserved = key === undefined ? FRESH : await reserveKey(tx, call.caller, key, request, call.now);
        if (!reserved.ok) throw new Refused(reserved.error);
        if ("replay" in reserved.value) return reserved.value.replay;
        const result = await handle(tx, call, ifMatchOf(c));
        if (!result.ok) throw new Refused(result.error);
        const written = result.value;
        const actor = `token:${call.caller.tokenId}`;
        const kept = { status: definition.status, headers: written.headers ?? {}, body: written.body };
        await Promise.all([
          recordAudit(tx, { actor, requestId: call.requestId, ...written.audit }, call.now),
          reserved.value.reservation.store(kept),
        ]);
        enqueued = [
          ...(written.operation === undefined ? [] : [written.operation]),
          ...(written.furtherOperations ?? []),
        ];
        return kept;
      });
      for (const operation of enqueued) c.env.waitUntil(announce(c.env, operation));
      return answer(c, sent);
    } catch (error) {
      if (error instanceof Refused) return refuse(c, error.failure);
      throw error;
    }
  });
}

/** Without a key nothing is kept. */
const FRESH = ok({ reservation: { store: async () => {} } });

/** Whether a change may go on with the version that the caller saw. */
export type IfMatch = (etag: string) => Result<null, Failure>;

function ifMatchOf(c: ConsoleContext): IfMatch {
  const wanted = c.req.header("if-match");
  return (etag) => {
    if (wanted === undefined || wanted.trim() === "*") return ok(null);
    if (wanted.split(",").some((one) => one.trim() === etag)) return ok(null);
    return fail("precondition-failed", "It was changed since you read it. Read it again, then repeat the change.");
  };
}

export const etagOf = (revision: number): string => `"${revision}"`;

async function announce(ports: ConsolePorts, { operationId, outboxId }: Enqueued): Promise<void> {
  try {
    await ports.send({ kind: "operation", operationId });
    await markSent(ports.db, outboxId, new Date(ports.clock()));
  } catch {
    ports.log.warn("queue not told, the sweep will", { operationId });
  }
}

async function admit<Params extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodType>(
  c: ConsoleContext,
  definition: Definition<Params, Query, Body>,
  text: string,
): Promise<Result<Call<Params, Query, Body>, Failure>> {
  const now = new Date(c.env.clock());
  const caller = await authorize(c.env.db, c.req.header("authorization"), definition.scope, now);
  if (!caller.ok) return caller;
  const params = parse(definition.params, c.req.param(), "path");
  if (!params.ok) return params;
  const query = parse(definition.query, c.req.query(), "query");
  if (!query.ok) return query;
  const json = parseJson(text, !Object.is(definition.body, nothing));
  if (!json.ok) return json;
  const body = parse(definition.body, json.value, "body");
  if (!body.ok) return body;
  return ok({
    ports: c.env,
    params: params.value,
    query: query.value,
    body: body.value,
    caller: caller.value,
    requestId: c.var.requestId,
    now,
  });
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: string,
): Result<z.output<Schema>, Failure> {
  const parsed = schema.safeParse(value, { error: inputWords });
  return parsed.success ? ok(parsed.data) : fail("bad-request", describeIssues(parsed.error, where));
}

function parseJson(text: string, wanted: boolean): Result<unknown, Failure> {
  if (!wanted) return ok({});
  try {
    return ok(JSON.parse(text));
  } catch {
    return fail("bad-request", "The body is not JSON.");
  }
}

async function readBody(c: ConsoleContext): Promise<Result<string, Failure>> {
  const tooLarge = fail("body-too-large", `A body here has at most ${MAX_BODY_BYTES} bytes.`);
  if (Number(c.req.header("content-length") ?? 0) > MAX_BODY_BYTES) return tooLarge;
  const stream = c.req.raw.body;
  if (stream === null) return ok("");
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) return tooLarge;
    text += decoder.decode(chunk, { stream: true });
  }
  return ok(text + decoder.decode());
}

const validKey = (key: string): boolean =>
  key.length >= 1 && key.length <= MAX_IDEMPOTENCY_KEY_LENGTH && /^[\x21-\x7e]+$/.test(key);

const honoPath = (path: string): string => `/api/v1${path.replaceAll(/\{(\w+)\}/g, ":$1")}`;

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number(),
    detail: z.string(),
    code: z.string(),
    requestId: z.string(),
  })
  .openapi("Problem");

const COMMON: readonly ErrorCode[] = ["bad-request", "unauthorized", "forbidden", "internal-error", "not-available"];

function register<Params extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodType>(
  app: ConsoleApp,
  definition: Definition<Params, Query, Body>,
): void {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of [...COMMON, ...(definition.refusals ?? [])])
    byStatus.set(PROBLEMS[code].status, [...(byStatus.get(PROBLEMS[code].status) ?? []), code]);
  const refusals = [...byStatus].map(([status, codes]) => [
    status,
    { description: codes.join(", "), content: { "application/problem+json": { schema: problemSchema } } },
  ]);
  const { method, params, query, body } = definition;
  const conditional = method !== "post" || definition.refusals?.includes("precondition-failed") === true;
  const headers =
    method === "get"
      ? undefined
      : z.object({
          ...(method === "post" && { "idempotency-key": z.string().max(MAX_IDEMPOTENCY_KEY_LENGTH).optional() }),
          ...(conditional && { "if-match": z.string().optional() }),
        });
  app.openAPIRegistry.registerPath({
    method,
    path: `/api/v1${definition.path}`,
    tags: [definition.tag],
    summary: definition.summary,
    description: `Scope: ${definition.scope}.`,
    security: [{ bearer: [] }],
    request: {
      ...(!Object.is(params, nothing) && { params }),
      ...(!Object.is(query, nothing) && { query }),
      ...(headers !== undefined && { headers }),
      ...(!Object.is(body, nothing) && { body: { required: true, content: { "application/json": { schema: body } } } }),
    },
    responses: {
      [definition.status]: {
        description: definition.status === 202 ? "Accepted; the operation does the rest" : "Done",
        content: { "application/json": { schema: definition.answer } },
      },
      ...Object.fromEntries(refusals),
    },
  });
}
