import { randomUUID } from "node:crypto";
import { z } from "zod";
import { CliError, EXIT, type ExitCode } from "../frame/exit.ts";
import { API_TIMEOUT_MS, LIST_PAGE_ITEMS } from "../limits.ts";

/** The management API. Every failure is a CliError: refused by the API with its code's exit code, or out of reach. */
export interface Api {
  readonly url: string;
  get<T>(path: string, schema: z.ZodType<T>): Promise<T>;
  /** Null instead of an error when there is no such thing. */
  find<T>(path: string, schema: z.ZodType<T>): Promise<T | null>;
  /** All items of a list, page by page. */
  list<T>(path: string, item: z.ZodType<T>): Promise<T[]>;
  post<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T>;
  put<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T>;
  patch<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T>;
  delete<T>(path: string, schema: z.ZodType<T>): Promise<T>;
  /** A response to be read as it comes (server-sent events). */
  stream(path: string, accept: string, signal: AbortSignal): Promise<Response>;
}

export interface ApiAccess {
  /** Base URL of the console, no path. */
  readonly url: string;
  readonly token: string;
}

const problemBody = z.object({ title: z.string(), detail: z.string(), code: z.string(), requestId: z.string() });

export function createApi(access: ApiAccess, fetcher: typeof fetch = fetch): Api {
  const base = `${access.url.replace(/\/+$/, "")}/api/v1`;

  const send = async (
    method: string,
    path: string,
    options: { body?: unknown; accept?: string; signal?: AbortSignal },
  ) => {
    const headers: Record<string, string> = {
      authorization: `Bearer ${access.token}`,
      accept: options.accept ?? "application/json",
    };
    if (options.body !== undefined) headers["content-type"] = "application/json";
    if (method === "POST") headers["idempotency-key"] = randomUUID();
    try {
      return await fetcher(`${base}${path}`, {
        method,
        headers,
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
        signal: options.signal ?? AbortSignal.timeout(API_TIMEOUT_MS),
        redirect: "error",
      });
    } catch (cause) {
      if (options.signal?.aborted === true) throw cause;
      throw new CliError(
        EXIT.environment,
        `the management API at ${access.url} can't be reached`,
        "Is the stack up? npx causeway status shows it. Another address: --api-url or CAUSEWAY_API_URL.",
        { cause },
      );
    }
  };

  const call = async <T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown): Promise<T> => {
    const response = await send(method, path, body === undefined ? {} : { body });
    if (!response.ok) throw await refusal(response);
    const text = await response.text();
    return schema.parse(text === "" ? undefined : JSON.parse(text));
  };

  return {
    url: access.url,
    get: (path, schema) => call("GET", path, schema),
    async find(path, schema) {
      const response = await send("GET", path, {});
      if (response.status === 404) return null;
      if (!response.ok) throw await refusal(response);
      return schema.parse(await response.json());
    },
    async list(path, item) {
      const page = z.object({ items: z.array(item), nextCursor: z.string().nullable() });
      const all = [];
      for (let cursor: string | null = ""; cursor !== null;) {
        const query = new URLSearchParams({ limit: String(LIST_PAGE_ITEMS) });
        if (cursor !== "") query.set("cursor", cursor);
        const { items, nextCursor }: z.infer<typeof page> = await call(
          "GET",
          `${path}${path.includes("?") ? "&" : "?"}${query.toString()}`,
          page,
        );
        all.push(...items);
        cursor = nextCursor;
      }
      return all;
    },
    post: (path, body, schema) => call("POST", path, schema, body),
    put: (path, body, schema) => call("PUT", path, schema, body),
    patch: (path, body, schema) => call("PATCH", path, schema, body),
    delete: (path, schema) => call("DELETE", path, schema),
    async stream(path, accept, signal) {
      const response = await send("GET", path, { accept, signal });
      if (!response.ok) throw await refusal(response);
      return response;
    },
  };
}

/** An error answer as a failure of the command: the API's own words, and an exit code by what kind of error it is. */
async function refusal(response: Response): Promise<CliError> {
  const body = problemBody.safeParse(await response.json().catch(() => null));
  if (!body.success) {
    return new CliError(EXIT.failed, `the management API answered ${response.status} without saying why`);
  }
  const { code, detail, requestId } = body.data;
  return new CliError(
    exitCodeOf(response.status),
    `${detail} (${code}, request ${requestId})`,
    hintOf(response.status),
  );
}

export function exitCodeOf(status: number): ExitCode {
  if (status === 401 || status === 403) return EXIT.authentication;
  if (status === 400 || status === 422) return EXIT.usage;
  if (status === 412) return EXIT.refused;
  return EXIT.failed;
}

function hintOf(status: number): string | null {
  if (status === 401) return "Set CAUSEWAY_API_TOKEN to a valid token of the management API.";
  if (status === 403) return "The token's scopes don't allow this; use another one in CAUSEWAY_API_TOKEN.";
  if (status >= 500) return "Try again; if it stays, look at the console's log (npx causeway logs workers).";
  return null;
}
