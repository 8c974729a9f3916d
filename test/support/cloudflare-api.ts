import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { z } from "zod";
import { listenOnLoopback } from "./listen.ts";

/** Told by `PUT /control`: what the next requests meet, or what has become of a host. */
const control = z.object({
  /** Answers to the next requests, instead of doing them. */
  fail: z
    .array(
      z.object({
        /** Only to the next one with this method. */
        method: z.string(),
        status: z.number(),
        code: z.number().optional(),
        retryAfter: z.string().optional(),
        /** Does what was asked all the same: an answer that got lost. */
        done: z.boolean().optional(),
      }),
    )
    .optional(),
  host: z.object({ hostname: z.string(), status: z.string(), ssl: z.string() }).optional(),
});

const newHostname = z.object({
  hostname: z.string(),
  ssl: z.object({
    method: z.literal("http"),
    type: z.literal("dv"),
    settings: z.object({ min_tls_version: z.string() }),
  }),
});

export const CLOUDFLARE = { zoneId: "0123456789abcdef0123456789abcdef", token: "a-token-for-tests" };

export interface CloudflareApi {
  /** As the real one ends in /client/v4. */
  readonly url: string;
  close(): Promise<void>;
}

interface Hostname {
  readonly id: string;
  readonly hostname: string;
  status: string;
  ssl: string;
}

/**
 * Stands for the custom hostnames of Cloudflare's API (v4): same paths, envelope, error codes and states. `PUT /control` steers it,
 * `GET /control` answers `{ requests, hostnames }`.
 */
export async function startCloudflareApi(): Promise<CloudflareApi> {
  const hostnames = new Map<string, Hostname>();
  const requests: string[] = [];
  const failures: NonNullable<z.infer<typeof control>["fail"]> = [];
  const prefix = `/client/v4/zones/${CLOUDFLARE.zoneId}/custom_hostnames`;

  const view = ({ id, hostname, status, ssl }: Hostname) => ({
    id,
    hostname,
    status,
    ...(status === "pending" && {
      verification_errors: ["custom hostname does not CNAME to this zone."],
      ownership_verification: { type: "txt", name: `_cf-custom-hostname.${hostname}`, value: id },
    }),
    ssl: {
      id: randomUUID(),
      status: ssl,
      method: "http",
      type: "dv",
      ...(ssl === "pending_validation" && {
        validation_records: [{ http_url: `http://${hostname}/x`, http_body: "y" }],
      }),
    },
  });
  const done = (result: unknown) => ({ status: 200, body: { success: true, errors: [], messages: [], result } });
  const refused = (status: number, code: number, message: string) => ({
    status,
    body: { success: false, errors: [{ code, message }], messages: [], result: null },
  });

  function api(method: string, url: URL, body: string): { status: number; body: unknown } {
    const id = url.pathname.slice(prefix.length + 1);
    const held = [...hostnames.values()].find((one) => one.id === id);
    if (method === "POST") {
      const wanted = newHostname.safeParse(JSON.parse(body));
      if (!wanted.success) return refused(400, 1400, "Bad request");
      const { hostname } = wanted.data;
      if (hostnames.has(hostname)) return refused(409, 1406, "Duplicate custom hostname found.");
      const made = { id: randomUUID(), hostname, status: "pending", ssl: "initializing" };
      hostnames.set(hostname, made);
      return { ...done(view(made)), status: 201 };
    }
    if (id === "") {
      const name = url.searchParams.get("hostname") ?? "";
      // The real filter finds parts of names too.
      return done([...hostnames.values()].filter(({ hostname }) => hostname.includes(name)).map(view));
    }
    if (held === undefined) return refused(404, 1436, "The custom hostname was not found.");
    if (method === "DELETE") hostnames.delete(held.hostname);
    return done(method === "DELETE" ? { id } : view(held));
  }

  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "http://cloudflare.test");
      const { method = "GET" } = request;
      const send = (status: number, json: unknown, headers: Record<string, string> = {}) =>
        void response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(json));
      if (url.pathname === "/control") {
        if (method === "GET") return send(200, { requests, hostnames: [...hostnames.values()] });
        const { fail = [], host } = control.parse(JSON.parse(body));
        failures.push(...fail);
        const held = host === undefined ? undefined : hostnames.get(host.hostname);
        if (held !== undefined && host !== undefined) Object.assign(held, { status: host.status, ssl: host.ssl });
        return send(200, {});
      }
      requests.push(`${method} ${url.pathname.slice(prefix.length)}${url.search}`);
      if (request.headers.authorization !== `Bearer ${CLOUDFLARE.token}` || !url.pathname.startsWith(prefix)) {
        const { status, body: said } = refused(403, 10_000, "Authentication error");
        return send(status, said);
      }
      const next = failures.findIndex((one) => one.method === method);
      const failure = next === -1 ? undefined : failures.splice(next, 1)[0];
      if (failure === undefined || failure.done === true) {
        const answer = api(method, url, body);
        if (failure === undefined) return send(answer.status, answer.body);
      }
      const { status, code = 1, retryAfter } = failure;
      return send(
        status,
        refused(status, code, "said no").body,
        retryAfter === undefined ? {} : { "retry-after": retryAfter },
      );
    });
  });
  const port = await listenOnLoopback(server);
  return {
    url: `http://127.0.0.1:${port}/client/v4`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
