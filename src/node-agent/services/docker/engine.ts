import { Agent, request } from "undici";
import { z } from "zod";
import { err, ok, type Result } from "../../../shared/result.ts";
import { LIMITS } from "../../limits.ts";
import type { ContainerSpec } from "./container-spec.ts";

/**
 * The few calls of the Engine API that the driver needs (Docker 20.10 and later; Podman's service answers the same). Paths carry no version:
 * the engine then takes its newest, and what is used here has been the same since 1.41.
 */
export interface Engine {
  /** All containers with every one of the labels, also those that don't run. */
  list(labels: readonly string[]): Promise<Result<Container[], EngineFailure>>;
  create(name: string, spec: ContainerSpec): Promise<Result<string, EngineFailure>>;
  start(id: string): Promise<Result<null, EngineFailure>>;
  /** SIGTERM, SIGKILL after the grace time, then forgotten with its anonymous volumes. One that is gone already counts as ended. */
  end(id: string, graceSeconds: number): Promise<Result<null, EngineFailure>>;
  hasImage(image: string): Promise<Result<boolean, EngineFailure>>;
  pull(image: string, login: RegistryLogin | null): Promise<Result<null, EngineFailure>>;
  close(): Promise<void>;
}

/** `away`: no engine answers. `conflict`: the name is taken. `port`: the host's port is. `refused`: anything else that it said no to. */
export interface EngineFailure {
  readonly kind: "away" | "conflict" | "port" | "not-found" | "refused";
  /** The engine's own words, shortened. */
  readonly message: string;
}

export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
}

const container = z.object({
  Id: z.string(),
  State: z.string(),
  Labels: z.record(z.string(), z.string()),
});
export type Container = z.infer<typeof container>;

const created = z.object({ Id: z.string() });
const problem = z.object({ message: z.string() });
const pullLine = z.object({ error: z.string().optional() });

/** `socketPath`: of the engine's Unix socket. */
export function createEngine(socketPath: string): Engine {
  const dispatcher = new Agent({ connect: { socketPath }, connections: LIMITS.engineConnections });

  const call = async (asked: {
    readonly method: "GET" | "POST" | "DELETE";
    readonly path: string;
    readonly query?: Readonly<Record<string, string>>;
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
    readonly timeoutMs?: number;
  }): Promise<Result<string, EngineFailure>> => {
    const { method, path, query = {}, body, headers = {}, timeoutMs = LIMITS.engineTimeoutMs } = asked;
    try {
      const answer = await request(`http://engine${path}?${new URLSearchParams(query).toString()}`, {
        dispatcher,
        method,
        headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeoutMs),
      });
      const text = await answer.body.text();
      // 304: it is started, or stopped, already.
      return answer.statusCode < 400 ? ok(text) : err(failureOf(answer.statusCode, text));
    } catch (error) {
      return err({ kind: "away", message: `the engine does not answer: ${reasonOf(error)}` });
    }
  };

  return {
    async list(labels) {
      const filters = JSON.stringify({ label: labels });
      const answer = await call({ method: "GET", path: "/containers/json", query: { all: "true", filters } });
      return answer.ok ? parsed(z.array(container), answer.value) : answer;
    },
    async create(name, spec) {
      const answer = await call({ method: "POST", path: "/containers/create", query: { name }, body: spec });
      if (!answer.ok) return answer;
      const read = parsed(created, answer.value);
      return read.ok ? ok(read.value.Id) : read;
    },
    async start(id) {
      const answer = await call({ method: "POST", path: `/containers/${id}/start` });
      return answer.ok ? ok(null) : answer;
    },
    async end(id, graceSeconds) {
      const timeoutMs = graceSeconds * 1000 + LIMITS.engineTimeoutMs;
      const query = { t: String(graceSeconds) };
      const stopped = await call({ method: "POST", path: `/containers/${id}/stop`, query, timeoutMs });
      if (!stopped.ok && stopped.error.kind !== "not-found") return stopped;
      const removed = await call({ method: "DELETE", path: `/containers/${id}`, query: { force: "true", v: "true" } });
      return removed.ok || removed.error.kind === "not-found" ? ok(null) : removed;
    },
    async hasImage(image) {
      const answer = await call({ method: "GET", path: `/images/${encodeURIComponent(image)}/json` });
      if (answer.ok) return ok(true);
      return answer.error.kind === "not-found" ? ok(false) : answer;
    },
    async pull(image, login) {
      const secret = login === null ? "" : Buffer.from(JSON.stringify(login)).toString("base64url");
      const answer = await call({
        method: "POST",
        path: "/images/create",
        query: { fromImage: image },
        headers: login === null ? {} : { "x-registry-auth": secret },
        timeoutMs: LIMITS.pullTimeoutMs,
      });
      if (!answer.ok) return answer;
      // 200 comes before the work: whether it went well is in the last lines (JSON, one each).
      for (const line of answer.value.split("\n")) {
        if (line.trim() === "") continue;
        const read = parsed(pullLine, line);
        if (!read.ok) return read;
        if (read.value.error !== undefined) return err({ kind: "refused", message: short(read.value.error) });
      }
      return ok(null);
    },
    close: () => dispatcher.close(),
  };
}

function failureOf(status: number, text: string): EngineFailure {
  const read = parsed(problem, text);
  const message = read.ok ? short(read.value.message) : `status ${status}`;
  if (status === 404) return { kind: "not-found", message };
  if (status === 409) return { kind: "conflict", message };
  return { kind: /port is already allocated|address already in use/i.test(message) ? "port" : "refused", message };
}

function parsed<T>(schema: z.ZodType<T>, text: string): Result<T, EngineFailure> {
  try {
    const read = schema.safeParse(JSON.parse(text));
    if (read.success) return ok(read.data);
  } catch {
    // Said below.
  }
  return err({ kind: "refused", message: "the engine's answer can't be read" });
}

const short = (text: string): string => text.slice(0, LIMITS.reasonChars / 2);

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}
