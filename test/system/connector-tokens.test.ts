import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { decodeJwt, UnsecuredJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CLOSE } from "../../src/protocol/tunnel/close-codes.ts";
import { selfSigned } from "../support/certificate.ts";
import { until } from "../support/until.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { startTestRelay, type TestRelay } from "./connector/relay.ts";
import { createSite, type Site } from "./connector/site.ts";
import { startIssuer } from "./fixtures/issuer.ts";

// Connectors with a secret or another issuer's token: how they get tokens, renew them, and what they do when nobody gives them one.
const SECRET = "s3cret-s3cret-s3cret-s3cret";
const PING = [{ kind: "ping", name: "ping" }] as const;
let relay: TestRelay;
let site: Site;
/** Tokens that the relay takes, and what came to its token endpoint. */
let good: Set<string>;
let asked: { authorization: string; form: URLSearchParams }[];
let secret: string;
let lifeSeconds: number;

beforeEach(async () => {
  relay = await startTestRelay();
  site = createSite();
  good = new Set();
  asked = [];
  secret = SECRET;
  lifeSeconds = 3600;
  relay.admits = (authorization) => good.has(authorization.replace("Bearer ", ""));
  relay.answer = (request, response) => {
    if (request.url !== "/token") return false;
    void giveToken(request, response);
    return true;
  };
});
afterEach(async () => {
  await site.close();
  await relay.stop();
});

async function giveToken(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const form = new URLSearchParams(await bodyOf(request));
  const authorization = request.headers.authorization ?? "";
  asked.push({ authorization, form });
  const json = (status: number, body: object): void => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
  const [, given = ""] = Buffer.from(authorization.replace("Basic ", ""), "base64").toString().split(/:(.*)/);
  if (decodeURIComponent(given) !== secret) return json(401, { error: "invalid_client" });
  const token = `token-${asked.length}-of-the-relay`;
  good.add(token);
  json(200, { access_token: token, token_type: "Bearer", expires_in: lifeSeconds });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of request) body += String(chunk);
  return body;
}

const secretFile = (content = SECRET): string => {
  const file = join(site.folder, "secret");
  writeFileSync(file, `${content}\n`, { mode: 0o600 });
  return file;
};
const withSecret = (): string[] => ["connect", "--url", relay.url, "--tenant", "acme", "--secret-file", secretFile()];
const inProcess = (change: object = {}) =>
  site.connector({ relay: relay.url, targets: [...PING], credential: { kind: "secret", secret: SECRET }, ...change });

describe("a client secret", () => {
  test("gets one token for both lanes, in the way of OAuth 2, and never shows", async () => {
    const running = site.command([...withSecret(), "--target", "ping", "--log-level", "debug"]);
    const [a] = await Promise.all([relay.link("a"), relay.link("b")]);
    expect(await a.open({ target: "ping" }).text()).toBe("PONG\n");
    expect(asked.length).toBe(1);
    expect(asked[0]?.authorization).toBe(`Basic ${Buffer.from(`acme:${SECRET}`).toString("base64")}`);
    expect(Object.fromEntries(asked[0]?.form ?? [])).toEqual({ grant_type: "client_credentials" });
    expect(relay.dials.map(({ authorization }) => authorization)).toEqual(Array(2).fill("Bearer token-1-of-the-relay"));
    running.child.kill("SIGTERM");
    expect(await running.exit).toBe(0);
    for (const hidden of [SECRET, "token-1"]) expect(running.output()).not.toContain(hidden);
  });

  test("that is wrong ends it with 5 and a reason, without a loop", async () => {
    secret = "another-secret";
    const running = site.command([...withSecret(), "--target", "ping"]);
    expect(await running.exit).toBe(5);
    expect(running.output()).toContain("refused the credential");
    expect(running.output()).toContain("invalid_client");
    expect(running.output()).not.toContain(SECRET);
    expect(asked.length).toBeLessThanOrEqual(6);
    expect(relay.dials.length).toBe(0);
  });

  test("is renewed in band before the token ends, and the links stay", async () => {
    lifeSeconds = 3;
    const connector = inProcess();
    const [a, b] = await Promise.all([relay.link("a"), relay.link("b")]);
    await until("two renewals on both", () => a.tokens.length >= 2 && b.tokens.length >= 2);
    expect(a.tokens[0]).toBe("token-2-of-the-relay");
    expect([a.closed, b.closed, relay.dials.length]).toEqual([null, null, 2]);
    expect(connector.tokenExpiresAtMs).toBeGreaterThan(Date.now());
  });

  test("whose token the relay ends gets a new one without giving up; when the secret is gone as well, it says so", async () => {
    const connector = inProcess();
    const links = await Promise.all([relay.link("a"), relay.link("b")]);
    good.clear();
    for (const { socket } of links) socket.close(CLOSE.unauthorized, "the token has run out");
    const [again] = await Promise.all(links.map((old) => relay.link(old.lane === "a" ? "a" : "b", { not: old })));
    expect(await again?.open({ target: "ping" }).text()).toBe("PONG\n");
    secret = "another-secret";
    good.clear();
    for (const { socket, closed } of relay.links)
      if (closed === null) socket.close(CLOSE.revoked, "the secret was removed");
    await until("it to be out", () => !connector.ready);
    await until("the reason", () => site.log.some((line) => line.includes("invalid_client")));
  });

  test("waits for a token endpoint that is away or busy", async () => {
    const { answer } = relay;
    let refusals = 0;
    relay.answer = (request, response) => {
      if (request.url !== "/token" || refusals >= 3) return answer(request, response);
      refusals += 1;
      response.writeHead(503, { "retry-after": "0" }).end();
      return true;
    };
    inProcess();
    await relay.link("a");
    expect(refusals).toBe(3);
  });

  test("follows the relay's discovery document", async () => {
    const { answer } = relay;
    relay.answer = (request, response) => {
      if (request.url === "/.well-known/relayserver-configuration") {
        const document = { token_endpoint: `${relay.url}/oauth/token`, reconnect_max_ms: 300, keep_alive_ms: 2_000 };
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(document));
        return true;
      }
      if (request.url === "/oauth/token") request.url = "/token";
      return answer(request, response);
    };
    inProcess();
    const link = await relay.link("a");
    let pings = 0;
    link.socket.on("ping", () => (pings += 1));
    await until("a WebSocket ping at the pace that the relay asked for", () => pings > 0);
    expect(asked.length).toBe(1);
  });
});

describe("an outside issuer", () => {
  test.each(["secret", "key"] as const)("gives tokens to a client with a %s", async (kind) => {
    const seen: string[] = [];
    const issuer = createServer((request, response) => {
      const send = (body: object): void => {
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
      };
      if (request.url === "/realm/.well-known/openid-configuration") return send({ token_endpoint: `${url}/t` });
      const give = async (): Promise<void> => {
        seen.push(`${request.url} ${request.headers.authorization ?? ""} ${await bodyOf(request)}`);
        good.add("token-of-the-issuer");
        send({ access_token: "token-of-the-issuer", token_type: "bearer", expires_in: 60 });
      };
      void give();
    });
    const url = `http://127.0.0.1:${await listenOnLoopback(issuer)}/realm`;
    try {
      const own = kind === "secret" ? ["--secret-file", secretFile()] : ["--credentials", site.credentials];
      const named = ["--url", relay.url, "--tenant", "acme", "--connector", "plant-1", "--target", "ping"];
      site.command(["connect", ...named, ...own, "--issuer", url, "--client-id", "plant", "--audience", "relay"]);
      await Promise.all([relay.link("a"), relay.link("b")]);
      expect(seen.length).toBe(1);
      expect(relay.dials.map(({ client }) => client)).toEqual(["acme/plant-1", "acme/plant-1"]);
      expect(seen[0]).toContain("audience=relay");
      const assertion = /client_assertion=([^&]+)/.exec(seen[0] ?? "")?.[1];
      if (kind === "secret") expect(seen[0]).toContain(`/realm/t Basic ${btoa(`plant:${SECRET}`)}`);
      else expect(decodeJwt(assertion ?? "")).toMatchObject({ iss: "plant", sub: "plant", aud: url });
      expect(asked.length).toBe(0); // the relay's own endpoint is not needed
    } finally {
      issuer.closeAllConnections();
      issuer.close();
    }
  });

  test("that is a real OpenID provider", async () => {
    const issuer = await startIssuer();
    try {
      relay.admits = (authorization) => decodeJwt(authorization.slice(7)).iss === issuer.url;
      const named = ["--url", relay.url, "--tenant", "acme", "--connector", "plant-1", "--target", "ping"];
      const client = ["--issuer", issuer.url, "--client-id", issuer.clientId];
      const file = secretFile(issuer.clientSecret);
      const running = site.command(["connect", ...named, ...client, "--secret-file", file]);
      await Promise.all([relay.link("a"), relay.link("b")]);
      expect(decodeJwt(relay.dials[0]?.authorization.slice(7) ?? "").aud).toBe(issuer.audience);
      running.child.kill("SIGTERM");
      const wrong = site.command(["connect", ...named, ...client, "--secret-file", secretFile("not-that-secret")]);
      expect(await wrong.exit).toBe(5);
      expect(wrong.output()).toContain("invalid_client");
    } finally {
      await issuer.stop();
    }
  });

  test("whose token something else keeps in a file: a new one there is used for live links too", async () => {
    const file = join(site.folder, "token");
    const put = (id: string, seconds: number): string => {
      const token = new UnsecuredJWT({ jti: id }).setExpirationTime(Math.floor(Date.now() / 1000) + seconds).encode();
      writeFileSync(file, token, { mode: 0o600 });
      return token;
    };
    put("too old", -10);
    inProcess({ credential: { kind: "token-file", path: file } });
    await until("it to say that the token has run out", () => site.log.some((line) => line.includes("has run out")));
    good.add(put("first", 600));
    const link = await relay.link("a");
    const second = put("second", 600);
    await until("the new one to be sent in band", () => link.tokens.includes(second));
    expect(link.closed).toBe(null);
  });
});

test("tokens are fetched through the proxy of HTTPS_PROXY, and the certificate is verified", async () => {
  const named = selfSigned({ dns: ["relay.site.example"] });
  const secure = await startTestRelay({ tls: named });
  secure.answer = relay.answer;
  secure.admits = relay.admits;
  const asked: string[] = [];
  const open = new Set<Socket>();
  const proxy = createServer();
  proxy.on("connect", (request, client: Socket) => {
    asked.push(`${request.url} ${request.headers["proxy-authorization"]}`);
    const upstream = connect(secure.port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(client).pipe(upstream);
    });
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => socket.destroy());
    }
  });
  const proxyEnv = { HTTPS_PROXY: `http://user:p%40ss@127.0.0.1:${await listenOnLoopback(proxy)}` };
  const url = `https://relay.site.example:${secure.port}`;
  try {
    inProcess({ relay: url, ca: named.cert, proxyEnv });
    await Promise.all([secure.link("a"), secure.link("b")]);
    expect(asked.length).toBe(4); // the discovery document, the token, two lanes
    expect(new Set(asked)).toEqual(new Set([`relay.site.example:${secure.port} Basic ${btoa("user:p@ss")}`]));
    inProcess({ relay: url, proxyEnv, instanceId: "2" });
    await until("the untrusted certificate to be refused", () => site.log.some((line) => line.includes("TLS")));
    expect(secure.links.length).toBe(2);
  } finally {
    for (const socket of open) socket.destroy();
    proxy.close();
    await secure.stop();
  }
});
