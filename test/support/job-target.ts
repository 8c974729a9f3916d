import { createServer } from "node:http";
import { listenOnLoopback } from "./listen.ts";

/** What the server says to one call. */
export interface ScriptedAnswer {
  /** Default: 200. */
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** Only when somebody says `POST /release/<key>`. */
  readonly held?: boolean;
}

export interface SeenCall {
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

export interface JobTarget {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A server that answers calls to `/c/<key>...` as it was told (`PUT /script/<key>`: a list, one each; afterwards 200), on a free port of this
 * machine. `GET /seen/<key>`: what came. Driven by HTTP, for tests that run inside workerd.
 */
export async function startJobTarget(): Promise<JobTarget> {
  const scripts = new Map<string, ScriptedAnswer[]>();
  const seen = new Map<string, SeenCall[]>();
  const held = new Map<string, (() => void)[]>();

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("error", () => response.destroy());
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const path = request.url ?? "/";
      const [, verb = "", key = ""] = /^\/(c|script|seen|release)\/([a-z0-9-]+)/.exec(path) ?? [];
      const body = Buffer.concat(chunks).toString("utf8");
      if (verb === "c") {
        const headers = Object.fromEntries(
          Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
        );
        const call = { atMs: Date.now(), method: request.method ?? "", path, headers, body };
        seen.set(key, [...(seen.get(key) ?? []), call]);
        const said = scripts.get(key)?.shift() ?? {};
        const answer = () => response.writeHead(said.status ?? 200, said.headers ?? {}).end(said.body ?? "");
        if (said.held === true) held.set(key, [...(held.get(key) ?? []), answer]);
        else answer();
        return;
      }
      if (verb === "script") scripts.set(key, JSON.parse(body));
      if (verb === "release") for (const answer of held.get(key)?.splice(0) ?? []) answer();
      response.writeHead(verb === "" ? 404 : 200).end(JSON.stringify(seen.get(key) ?? []));
    });
  });
  const port = await listenOnLoopback(server);
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
