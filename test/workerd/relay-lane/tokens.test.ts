import { exports } from "cloudflare:workers";
import { calculateJwkThumbprint } from "jose";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { ConnectorGrant } from "../../../src/protocol/lane.ts";
import { tenantSettings } from "../../../src/protocol/lane.ts";
import { connect, dial, grantConnector, laneStub, makeKey, RELAY, until } from "./peer.ts";

const TENANT = "ten_globex";
let counter = 0;

async function sha256(text: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A connector with these secrets, known to the lane; answers how to change its grant. */
async function withSecrets(...secrets: string[]) {
  const made = await grantConnector(TENANT, "globex", {
    secrets: await Promise.all(
      secrets.map(async (secret) => ({ id: `sec_${secret}`, sha256: await sha256(secret), expiresAtMs: null })),
    ),
  });
  let { grant } = made;
  const change = async (over: Partial<ConnectorGrant>) => {
    grant = { ...grant, ...over, revision: grant.revision + 1 };
    await laneStub(TENANT).putConnector(grant);
  };
  return { ...made, change, secrets: grant.secrets };
}

const newSecret = (): string => `secret-of-this-test-${(counter += 1)}-${crypto.randomUUID()}`;

const post = (path: string, body: string, type = "application/x-www-form-urlencoded") =>
  exports.default.fetch(`${RELAY}${path}`, { method: "POST", body, headers: { "content-type": type } });

async function tokenFor(identity: string, secret: string): Promise<string> {
  const form = { grant_type: "client_credentials", client_id: identity, client_secret: secret };
  const answer = await post("/token", new URLSearchParams(form).toString());
  expect(answer.status).toBe(200);
  return z.object({ access_token: z.string() }).parse(await answer.json()).access_token;
}

describe("an access token", () => {
  it("lets its connector in, again and again; the secret's removal ends the socket at once (R06, R07)", async () => {
    const [old, young] = [newSecret(), newSecret()];
    const connector = await withSecrets(old, young);
    const token = await tokenFor(connector.identity, old);
    const other = await tokenFor("globex", young);
    const first = await connect({ token }, { instanceId: "one" });
    const second = await connect({ token: other }, { instanceId: "two" });
    const third = await connect({ token }, { instanceId: "three" });
    third.socket.close(1000, "done");
    await connector.change({ secrets: connector.secrets.slice(1) });
    expect(await first.closed).toMatchObject({ code: 4401 });
    expect((await dial(token)).status).toBe(401);
    expect(second.socket.readyState).toBe(WebSocket.OPEN);
    await connector.change({ disabled: true });
    expect(await second.closed).toMatchObject({ code: 4403 });
    expect((await dial(other)).status).toBe(403);
  });

  it("is of its own tenant only, and nobody makes one without the key (H72)", async () => {
    const secret = newSecret();
    const { identity, grant } = await withSecrets(secret);
    const token = await tokenFor(identity, secret);
    const [head = "", , signature = ""] = token.split(".");
    const forged = btoa(JSON.stringify({ client_id: "acme/plant-1", sub: grant.connectorId, iss: RELAY, aud: RELAY }));
    expect((await dial(`${head}.${forged.replaceAll("=", "")}.${signature}`)).status).toBe(401);
    expect((await dial(`${token.slice(0, -4)}AAAA`)).status).toBe(401);
  });

  it("comes in band before the old one ends; the socket then depends on the new one's secret", async () => {
    const [old, young] = [newSecret(), newSecret()];
    const connector = await withSecrets(old, young);
    const peer = await connect({ token: await tokenFor(connector.identity, old) });
    peer.session.renewToken(await tokenFor(connector.identity, young));
    await until("the token to be taken", () => peer.lifetimes.length === 1);
    expect(peer.lifetimes[0]).toBeGreaterThan(590_000);
    await connector.change({ secrets: connector.secrets.slice(1) });
    const sessions = await laneStub(TENANT).sessions();
    expect(sessions.filter(({ connectorId }) => connectorId === connector.grant.connectorId)).toHaveLength(1);
    await connector.change({ secrets: [] });
    expect(await peer.closed).toMatchObject({ code: 4401 });
  });

  it("of another connector in band ends the session", async () => {
    const [own, foreign] = [newSecret(), newSecret()];
    const connector = await withSecrets(own);
    const stranger = await withSecrets(foreign);
    const peer = await connect({ token: await tokenFor(connector.identity, own) });
    peer.session.renewToken(await tokenFor(stranger.identity, foreign));
    expect(await peer.closed).toMatchObject({ code: 4401 });
  });
});

describe("the relay's endpoints", () => {
  it("answer discovery, and refuse other methods (P04)", async () => {
    const document = await exports.default.fetch(`${RELAY}/.well-known/relayserver-configuration`);
    expect(await document.json()).toMatchObject({ issuer: RELAY, token_endpoint: `${RELAY}/token` });
    expect((await exports.default.fetch(`${RELAY}/token`)).status).toBe(405);
    expect((await post("/token", "grant_type=client_credentials&client_id=broken&client_secret=x")).status).toBe(503);
  });

  it("let an unknown connector ask while the window is open, until its key is known (H85)", async () => {
    const key = await makeKey("any");
    const bare = { kty: "OKP", crv: "Ed25519", x: key.jwk.x } as const;
    const kid = await calculateJwkThumbprint(bare);
    const body = JSON.stringify({ tenant: "globex", connector: "newcomer", key: { ...bare, kid }, software: "x/1" });
    const ask = () => post("/pair", body, "application/json");
    expect((await ask()).status).toBe(404);
    const lane = laneStub(TENANT);
    const revision = 1_000;
    await lane.putSettings(tenantSettings.parse({ tenantId: TENANT, revision, pairingUntilMs: Date.now() + 60_000 }));
    const asked = await ask();
    expect(asked.status).toBe(202);
    expect(await lane.pairingRequests()).toMatchObject([{ id: kid, connector: "newcomer", software: "x/1" }]);
    const status = async () => (await exports.default.fetch(`${RELAY}${asked.headers.get("location") ?? ""}`)).text();
    expect(await status()).toContain('"pending"');
    await grantConnector(TENANT, "globex", { keys: [{ ...bare, kid }] });
    expect(await status()).toContain('"accepted"');
    await lane.putSettings(tenantSettings.parse({ tenantId: TENANT, revision: revision + 1 }));
    expect(await lane.pairingRequests()).toEqual([]);
  });
});
