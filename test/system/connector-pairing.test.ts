import { existsSync, readFileSync, statSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { calculateJwkThumbprint, importJWK, jwtVerify } from "jose";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { publicJwk } from "../../src/protocol/jwk.ts";
import { until } from "../support/until.ts";
import { startTestRelay, type TestRelay } from "./connector/relay.ts";
import { createSite, type Site } from "./connector/site.ts";

// `causeway connect --pair`: a connector that nobody knows yet asks to be let in (H85).
const pairingRequest = z.strictObject({
  tenant: z.string(),
  connector: z.string(),
  key: publicJwk,
  software: z.string(),
});
let relay: TestRelay;
let site: Site;
let requests: z.infer<typeof pairingRequest>[];
let windowOpen: boolean;
let status: "pending" | "accepted" | null;

beforeEach(async () => {
  relay = await startTestRelay();
  site = createSite();
  requests = [];
  windowOpen = true;
  status = "pending";
  relay.admits = () => false;
  relay.answer = (request, response) => {
    const send = (code: number, body: object): void => {
      response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    if (request.url === "/pair/request-1?tenant=acme") {
      send(status === null ? 404 : 200, status === null ? { detail: "nobody is let in" } : { id: "request-1", status });
      return true;
    }
    if (request.url !== "/pair") return false;
    const take = async (): Promise<void> => {
      const parsed = pairingRequest.parse(JSON.parse(await bodyOf(request)));
      if (windowOpen) requests.push(parsed);
      if (windowOpen) send(202, { id: "request-1", status: "pending" });
      else send(404, { detail: "the pairing window is closed" });
    };
    void take();
    return true;
  };
});
afterEach(async () => {
  await site.close();
  await relay.stop();
});

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of request) body += String(chunk);
  return body;
}

const file = () => join(site.folder, "new.json");
const pairing = () => {
  const named = ["--url", relay.url, "--tenant", "acme", "--connector", "plant-9", "--credentials", file()];
  return site.command(["connect", "--pair", ...named, "--target", "ping"]);
};

test("makes a key, asks with its public half, shows a fingerprint, waits, and connects once a member said yes", async () => {
  const running = pairing();
  const [asked] = await until("the request", () => (requests.length > 0 ? requests : null));
  expect(asked).toMatchObject({ tenant: "acme", connector: "plant-9" });
  if (asked === undefined) throw new Error("nothing asked");
  const { kid, kty, crv, x } = asked.key;
  const key = { kty, crv, x };
  const thumbprint = await calculateJwkThumbprint(key);
  const digits = Buffer.from(thumbprint, "base64url").toString("hex").slice(0, 16).toUpperCase();
  await until("the fingerprint", () => running.output().includes((digits.match(/.{4}/g) ?? []).join("-")));
  expect(statSync(file()).mode & 0o777).toBe(0o600);
  const written = z.object({ privateKey: z.object({ d: z.string() }) }).parse(JSON.parse(readFileSync(file(), "utf8")));

  const publicKey = await importJWK(key, "EdDSA");
  const check = { issuer: "acme/plant-9", audience: relay.url };
  for (const { authorization } of relay.dials) await jwtVerify(authorization.slice(7), publicKey, check);
  status = "accepted"; // the member said yes, and a moment later the lanes know it
  await until("it to know", () => running.output().includes("a member accepted"));
  relay.admits = () => true;
  const link = await relay.link("a");
  expect(link.peer.targets).toEqual(["ping"]);
  expect(running.output()).not.toContain(written.privateKey.d);
  expect(kid).toBe(thumbprint);
  running.child.kill("SIGTERM");
  expect(await running.exit).toBe(0);
});

test("asks with the same key after a restart", async () => {
  const first = pairing();
  const [one] = await until("the first request", () => (requests.length > 0 ? requests : null));
  first.child.kill("SIGTERM");
  expect(await first.exit).toBe(130);
  requests = [];
  const second = pairing();
  const [other] = await until("the second request", () => (requests.length > 0 ? requests : null));
  expect(other?.key).toEqual(one?.key);
  second.child.kill("SIGTERM");
  await second.exit;
});

test("ends with 5 when nobody wants it", async () => {
  const running = pairing();
  await until("the request", () => requests.length > 0);
  status = null;
  expect(await running.exit).toBe(5);
  expect(requests.length).toBe(1);
});

test("ends with 5 while the window is closed", async () => {
  windowOpen = false;
  const running = pairing();
  expect(await running.exit).toBe(5);
  expect(running.output()).toContain("the pairing window is closed");
  expect(existsSync(file())).toBe(true);
});
