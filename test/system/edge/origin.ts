import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { createLocalJWKSet, jwtVerify } from "jose";
import { WebSocketServer } from "ws";
import { z } from "zod";
import { PROOF_ISSUER, proofClaims, type ProofClaims } from "../../../src/protocol/proof.ts";
import type { PublicJwk } from "../../../src/protocol/jwk.ts";
import { listenOnLoopback } from "../../support/listen.ts";

/** Stands for a node: verifies the edge's proof as its Envoy does (signature, issuer, audience, lifetime), then serves test pages. */
export interface TestNode {
  readonly url: string;
  readonly requests: number;
  stop(): Promise<void>;
}

/** What a node's pages say of the request that they got. */
const echo = z.object({
  node: z.string(),
  method: z.string(),
  path: z.string(),
  headers: z.record(z.string(), z.union([z.string(), z.array(z.string())])),
  proof: proofClaims,
  bytes: z.number(),
  sha256: z.string(),
});
export type Echo = z.infer<typeof echo>;
export const parseEcho = (body: string): Echo => echo.parse(JSON.parse(body));

/** `otherKeys`: published beside the key. */
export async function startTestNode(
  nodeId: string,
  proofKey: PublicJwk,
  port = 0,
  otherKeys: readonly PublicJwk[] = [],
): Promise<TestNode> {
  const keys = createLocalJWKSet({
    keys: [proofKey, ...otherKeys].map(({ kid, kty, crv, x }) => ({ kid, kty, crv, x })),
  });
  let requests = 0;

  async function proofOf(request: IncomingMessage): Promise<ProofClaims | null> {
    const token = request.headers["causeway-proof"];
    if (typeof token !== "string") return null;
    try {
      const options = { algorithms: ["EdDSA"], issuer: PROOF_ISSUER, audience: nodeId };
      return proofClaims.parse((await jwtVerify(token, keys, options)).payload);
    } catch {
      return null;
    }
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests += 1;
    const proof = await proofOf(request);
    if (proof === null) return void response.writeHead(401).end("Jwt is missing");
    const path = request.url ?? "";
    const url = new URL(path, "http://node");
    if (url.pathname === "/app/gzip") {
      const body = gzipSync("a".repeat(10_000));
      const headers = { "content-encoding": "gzip", "content-length": body.length, "content-type": "text/plain" };
      return void response.writeHead(200, headers).end(body);
    }
    if (url.pathname === "/app/redirect") {
      return void response.writeHead(302, { location: "http://elsewhere.example/x" }).end();
    }
    if (url.pathname === "/app/cookies") {
      const cookies = ["a=1; Path=/", "causeway=fixed; Path=/", "__Host-causeway=fixed; Path=/; Secure"];
      return void response.writeHead(200, { "set-cookie": cookies, via: "x" }).end();
    }
    if (url.pathname === "/app/forged") {
      const code = url.searchParams.get("code") ?? "fake";
      return void response.writeHead(200, { "causeway-error": code }).end("in a node's words");
    }
    if (url.pathname === "/app/cors") {
      const headers = { "access-control-allow-origin": "*", "access-control-expose-headers": "x-mine" };
      return void response.writeHead(200, headers).end("of the service");
    }
    if (url.pathname === "/app/never") return;
    if (url.pathname === "/app/reset") return void request.socket.destroy();
    if (url.pathname === "/app/status") {
      return void response.writeHead(Number(url.searchParams.get("code")), { etag: '"1"' }).end();
    }
    if (url.pathname === "/app/sse") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: one\n\n");
      // The second event waits for the visitor to have seen the first.
      return void events.set(url.searchParams.get("id") ?? "", () => response.end("data: two\n\n"));
    }
    if (url.pathname === "/app/sse-go") {
      events.get(url.searchParams.get("id") ?? "")?.();
      return void response.end();
    }
    if (url.pathname === "/app/blob") return await blob(Number(url.searchParams.get("mb")), response);
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      hash.update(chunk);
    }
    const headers = Object.fromEntries(
      Object.entries(request.headersDistinct).map(([k, v]) => [k, v?.length === 1 ? (v[0] ?? "") : (v ?? [])]),
    );
    const said: Echo = {
      node: nodeId,
      method: request.method ?? "",
      path,
      headers,
      proof,
      bytes,
      sha256: hash.digest("hex"),
    };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(said));
  }

  const events = new Map<string, () => void>();
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] ?? false });
  server.on("upgrade", (request, socket, head) => {
    void proofOf(request).then((proof) => {
      if (proof === null) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
      return sockets.handleUpgrade(request, socket, head, (ws) => {
        ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
        if (request.url?.includes("close=")) ws.close(4001, "as asked");
      });
    });
  });
  const chosen = await listenOnLoopback(server, port);
  return {
    url: `http://127.0.0.1:${chosen}`,
    get requests() {
      return requests;
    },
    stop: () =>
      new Promise((resolve) => {
        for (const client of sockets.clients) client.terminate();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function blob(megabytes: number, response: ServerResponse): Promise<void> {
  const chunk = Buffer.alloc(1024 * 1024, 7);
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": megabytes * chunk.length });
  for (let i = 0; i < megabytes; i++) {
    if (!response.write(chunk)) await new Promise((resolve) => response.once("drain", resolve));
  }
  response.end();
}
