import { exports } from "cloudflare:workers";
import { inject } from "vitest";

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: any;
}

/** One request to the console Worker. `as`: whose token; null for none. */
export async function call(
  method: string,
  path: string,
  options: { as?: "admin" | "read" | null | string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Reply> {
  const { as = "admin", body, headers = {} } = options;
  const { adminToken, readToken } = inject("database");
  const token = as === "admin" ? adminToken : as === "read" ? readToken : as;
  const response = await exports.default.fetch(`http://console.test${path}`, {
    method,
    headers: {
      ...(token !== null && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}
