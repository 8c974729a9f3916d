import { exportJWK, generateKeyPair, SignJWT, calculateJwkThumbprint } from "jose";
import { expect, test } from "vitest";
import { connectorGrant, tenantSettings, type ConnectorGrant, type PairingRequest } from "../../protocol/lane.ts";
import { issuerJwk, publicJwk } from "../../protocol/jwk.ts";
import { createAccessTokens } from "./access-token.ts";
import { createAdmission } from "./admission.ts";
import { createAttempts } from "./attempts.ts";
import { answerEndpoint, isEndpoint } from "./endpoints.ts";
import type { EndpointPorts } from "./http.ts";

const ORIGIN = "https://relay.example.com";
const SECRET = "a-secret-of-the-first-plant-0123456789abcdef";
const KEY = btoa("0123456789abcdef0123456789abcdef");
const OTHER_KEY = btoa("fedcba9876543210fedcba9876543210");
const NOW = Date.parse("2026-11-20T12:00:00Z");

const sha256 = async (text: string): Promise<string> =>
  [...new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");

const grant = (over: Partial<ConnectorGrant> = {}): ConnectorGrant =>
  connectorGrant.parse({
    tenantId: "ten_acme",
    tenant: "acme",
    connectorId: "con_1",
    name: "plant-1",
    revision: 1,
    disabled: false,
    keys: [],
    targets: null,
    ...over,
  });

function lane(options: { keys?: string | null; other?: ConnectorGrant[]; settings?: object } = {}) {
  const grants = new Map<string, ConnectorGrant>((options.other ?? []).map((one) => [one.connectorId, one]));
  const used = new Set<string>();
  const requests: PairingRequest[] = [];
  const clock = { now: NOW };
  let settings = tenantSettings.parse({ tenantId: "ten_acme", revision: 1, ...options.settings });
  const setting = options.keys === undefined ? KEY : options.keys;
  const admission = createAdmission({
    grants,
    settings: () => settings,
    accessTokens: setting === null ? null : createAccessTokens(setting),
    now: () => clock.now,
    newTokenId: () => "tok_1",
    use: (assertion) => (used.has(assertion) ? "used" : (used.add(assertion), "first")),
    pairing: () => requests,
    askToPair: (request) => (requests.length > 1 ? "closed" : (requests.push(request), "asked")),
  });
  const set = (next: object) => void (settings = tenantSettings.parse({ tenantId: "ten_acme", revision: 2, ...next }));
  return { admission, grants, clock, set, requests };
}

const withSecret = async (over: Partial<ConnectorGrant> = {}) =>
  grant({ secrets: [{ id: "sec_1", sha256: await sha256(SECRET), expiresAtMs: null }], ...over });

const ask = (secret: string, connector: string | null = null) =>
  ({ connector, proof: { kind: "secret", secret }, origin: ORIGIN }) as const;

async function signer(alg: "EdDSA" | "ES256" | "RS256") {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  const sign = (claims: Record<string, unknown>, seconds = 60, atMs = NOW) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg, kid })
      .setIssuedAt(Math.floor(atMs / 1000))
      .setExpirationTime(Math.floor(atMs / 1000) + seconds)
      .sign(privateKey);
  return { jwk: { ...jwk, kid }, kid, sign };
}

test("a token got with a secret at one lane is taken by the other, until it runs out or the secret is removed (R06, P05)", async () => {
  const [a, b] = [lane(), lane()];
  for (const { grants } of [a, b]) grants.set("con_1", await withSecret());
  const answer = await a.admission.token(ask(SECRET));
  if (!answer.ok) throw new Error(answer.refusal.why);
  expect(answer.lifetimeMs).toBe(600_000);
  const admitted = await b.admission.admit(answer.token, ORIGIN, null);
  expect(admitted).toMatchObject({
    ok: true,
    value: { grant: { name: "plant-1" }, credential: { kind: "secret", id: "sec_1", expiresAtMs: NOW + 600_000 } },
  });
  b.clock.now += 600_001;
  expect(await b.admission.admit(answer.token, ORIGIN, null)).toMatchObject({
    ok: false,
    error: { kind: "unauthorized" },
  });
  expect(await a.admission.admit(answer.token, "https://other.example.com", null)).toMatchObject({ ok: false });
  a.grants.set("con_1", grant({ revision: 2 }));
  expect(await a.admission.admit(answer.token, ORIGIN, null)).toMatchObject({
    error: { kind: "unauthorized", why: "the secret was removed" },
  });
});

test.each([
  ["a wrong secret", "wrong".repeat(9), null],
  ["the hash instead of the secret", "hash", null],
  ["another connector's name", SECRET, "plant-2"],
])("%s gives no token (R06)", async (_, secret, connector) => {
  const { admission, grants } = lane();
  grants.set("con_1", await withSecret());
  grants.set("con_2", grant({ connectorId: "con_2", name: "plant-2" }));
  const given = secret === "hash" ? await sha256(SECRET) : secret;
  expect(await admission.token(ask(given, connector))).toMatchObject({ ok: false, refusal: { kind: "unauthorized" } });
});

test("an old secret stays good beside a new one until it is removed or runs out (R07)", async () => {
  const { admission, grants, clock } = lane();
  const secrets = [
    { id: "sec_1", sha256: await sha256(SECRET), expiresAtMs: NOW + 60_000 },
    { id: "sec_2", sha256: await sha256("another-secret"), expiresAtMs: null },
  ];
  grants.set("con_1", grant({ secrets }));
  expect(await admission.token(ask(SECRET, "plant-1"))).toMatchObject({ ok: true, lifetimeMs: 60_000 });
  expect(await admission.token(ask("another-secret"))).toMatchObject({ ok: true, lifetimeMs: 600_000 });
  clock.now += 60_001;
  expect(await admission.token(ask(SECRET))).toMatchObject({ ok: false });
  grants.set("con_1", grant({ secrets: secrets.slice(0, 1) }));
  expect(await admission.token(ask("another-secret"))).toMatchObject({ ok: false });
});

test("keys change without a moment in which a token is refused", async () => {
  const [before, during, after] = [lane(), lane({ keys: `${OTHER_KEY},${KEY}` }), lane({ keys: OTHER_KEY })];
  for (const { grants } of [before, during, after]) grants.set("con_1", await withSecret());
  const old = await before.admission.token(ask(SECRET));
  const young = await during.admission.token(ask(SECRET));
  if (!old.ok || !young.ok) throw new Error("no tokens");
  expect((await during.admission.admit(old.token, ORIGIN, null)).ok).toBe(true);
  expect((await after.admission.admit(young.token, ORIGIN, null)).ok).toBe(true);
  expect((await after.admission.admit(old.token, ORIGIN, null)).ok).toBe(false);
  expect(() => createAccessTokens("c2hvcnQ=")).toThrow("RELAY_TOKEN_KEY");
});

test("without a token key nobody gets a token, and none is taken", async () => {
  const { admission, grants } = lane({ keys: null });
  grants.set("con_1", await withSecret());
  expect(await admission.token(ask(SECRET))).toMatchObject({ ok: false, refusal: { kind: "not-available" } });
});

test.each([
  ["disabled", { disabled: true }, "forbidden"],
  ["expired", { expiresAtMs: NOW - 1 }, "forbidden"],
] as const)("a connector that is %s gets no token (H83, H89)", async (_, over, kind) => {
  const { admission, grants } = lane();
  grants.set("con_1", await withSecret(over));
  expect(await admission.token(ask(SECRET))).toMatchObject({ ok: false, refusal: { kind } });
});

test("a tenant's relay that is switched off lets nobody in, and says that it is not the credential (P23)", async () => {
  const { admission, grants, set } = lane();
  grants.set("con_1", await withSecret());
  set({ disabled: true });
  expect(await admission.token(ask(SECRET))).toMatchObject({ ok: false, refusal: { kind: "not-available" } });
});

test.each(["EdDSA", "ES256"] as const)("an assertion with %s lets in once, and gets a token once", async (alg) => {
  const key = await signer(alg);
  const { admission, grants } = lane();
  grants.set("con_1", grant({ keys: [publicJwk.parse(key.jwk)] }));
  const assertion = (aud: string, jti: string) =>
    key.sign({ iss: "acme/plant-1", sub: "acme/plant-1", aud, jti: jti.padEnd(8, "0") });
  const first = await assertion(ORIGIN, "one");
  expect(await admission.admit(first, ORIGIN, null)).toMatchObject({
    ok: true,
    value: { credential: { kind: "key", id: key.kid, expiresAtMs: null } },
  });
  expect(await admission.admit(first, ORIGIN, null)).toMatchObject({ ok: false });
  const second = await assertion(`${ORIGIN}/token`, "two");
  const proof = { kind: "assertion", assertion: second } as const;
  const answer = await admission.token({ connector: "plant-1", proof, origin: ORIGIN });
  if (!answer.ok) throw new Error(answer.refusal.why);
  expect(await admission.token({ connector: "plant-1", proof, origin: ORIGIN })).toMatchObject({ ok: false });
  expect(await admission.admit(answer.token, ORIGIN, null)).toMatchObject({ ok: true });
});

test.each(["EdDSA", "ES256", "RS256"] as const)(
  "a token of a trusted issuer, signed with %s, proves by its subject (P05)",
  async (alg) => {
    const key = await signer(alg);
    const issuer = "https://login.example.com";
    const trusted = { issuer, audience: "causeway", keys: [issuerJwk.parse(strip(key.jwk))] };
    const { admission, grants, set } = lane({ settings: { issuers: [trusted] } });
    grants.set("con_1", grant({ issuerSubject: "client-7" }));
    grants.set("con_2", grant({ connectorId: "con_2", name: "plant-2" }));
    const claims = { iss: issuer, sub: "client-7", aud: "causeway" };
    const token = await key.sign(claims, 300);
    expect(await admission.admit(token, ORIGIN, null)).toMatchObject({
      ok: true,
      value: { grant: { name: "plant-1" }, credential: { kind: "issuer", id: issuer, expiresAtMs: NOW + 300_000 } },
    });
    for (const wrong of [
      key.sign({ ...claims, aud: "another" }, 300),
      key.sign({ ...claims, sub: "client-8" }, 300),
      key.sign({ ...claims, iss: "https://evil.example.com" }, 300),
      key.sign(claims, 300, NOW - 3_600_000),
      (await signer(alg)).sign(claims, 300),
    ]) {
      expect(await admission.admit(await wrong, ORIGIN, null)).toMatchObject({
        ok: false,
        error: { kind: "unauthorized" },
      });
    }
    expect(await admission.admit(token, ORIGIN, "plant-2")).toMatchObject({ ok: false });
    const proof = { kind: "assertion", assertion: token } as const;
    expect(await admission.token({ connector: "plant-1", proof, origin: ORIGIN })).toMatchObject({
      ok: true,
      lifetimeMs: 300_000,
    });
    set({ issuers: [] });
    expect(await admission.admit(token, ORIGIN, null)).toMatchObject({ ok: false });
  },
);

const strip = ({ kty, crv, x, y, n, e, kid }: Record<string, unknown>) =>
  Object.fromEntries(Object.entries({ kty, crv, x, y, n, e, kid }).filter(([, value]) => value !== undefined));

test("unknown connectors ask only while the window is open, with a key that bears its own name (H85)", async () => {
  const key = await signer("EdDSA");
  const { admission, grants, set, requests } = lane();
  const wanted = { connector: "plant-9", key: publicJwk.parse(key.jwk), software: "x/1", clientAddress: null };
  expect(await admission.pair(wanted)).toBe("closed");
  set({ pairingUntilMs: NOW + 60_000 });
  expect(await admission.pair({ ...wanted, key: { ...wanted.key, kid: "somebody-else" } })).toBe("closed");
  expect(await admission.pair(wanted)).toEqual({ id: key.kid });
  expect(requests).toMatchObject([{ id: key.kid, connector: "plant-9", atMs: NOW }]);
  expect(await admission.pairStatus(key.kid)).toBe("pending");
  expect(await admission.pairStatus("other")).toBe("unknown");
  grants.set("con_9", grant({ connectorId: "con_9", name: "plant-9", keys: [wanted.key] }));
  expect(await admission.pairStatus(key.kid)).toBe("accepted");
});

async function endpoints() {
  const acme = lane();
  acme.grants.set("con_1", await withSecret());
  const warned: string[] = [];
  const ports: EndpointPorts = {
    laneOf: async ({ tenant }) => (tenant === "acme" ? acme.admission : tenant === "away" ? "unreachable" : null),
    clientAddress: "192.0.2.7",
    failedTokens: createAttempts({ perWindow: 3, windowMs: 60_000, keysMax: 2 }),
    pairAttempts: createAttempts({ perWindow: 3, windowMs: 60_000, keysMax: 2 }),
    now: () => acme.clock.now,
    software: "causeway/test",
    warn: (_, { why }) => void warned.push(why ?? ""),
  };
  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    answerEndpoint(new Request(`${ORIGIN}${path}`, { method: "POST", body, headers }), ports);
  const form = (fields: Record<string, string>, headers: Record<string, string> = {}) =>
    post("/token", new URLSearchParams({ grant_type: "client_credentials", ...fields }).toString(), {
      "content-type": "application/x-www-form-urlencoded",
      ...headers,
    });
  return { acme, ports, post, form, warned };
}

const basic = (id: string, secret: string) => ({
  authorization: `Basic ${btoa(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`)}`,
});

test("the token endpoint takes Basic and the form, with the tenant's name or the connector's (P05)", async () => {
  const { form } = await endpoints();
  for (const answer of [
    await form({}, basic("acme", SECRET)),
    await form({}, basic("acme/plant-1", SECRET)),
    await form({ client_id: "acme", client_secret: SECRET }),
  ]) {
    expect(answer.status).toBe(200);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(await answer.json()).toMatchObject({
      token_type: "Bearer",
      expires_in: 600,
      access_token: expect.any(String),
    });
  }
});

test("wrong secrets, connectors and tenants get the same words, then 429; nothing of a secret is logged (R06)", async () => {
  const { form, warned, acme } = await endpoints();
  const texts = new Set<string>();
  for (const [id, secret] of [
    ["acme", "wrong-secret-1"],
    ["acme/plant-2", SECRET],
    ["nobody", SECRET],
    ["acme", "wrong-secret-2"],
  ] as const) {
    const answer = await form({}, basic(id, secret));
    expect(answer.status).toBe(401);
    expect(answer.headers.get("causeway-error")).toBe("unauthorized");
    texts.add(await answer.text());
  }
  expect([...texts]).toEqual([expect.stringContaining('"invalid_client"')]);
  const limited = await form({}, basic("acme", SECRET));
  expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "60"]);
  acme.clock.now += 60_000;
  expect((await form({}, basic("acme", SECRET))).status).toBe(200);
  expect(warned.join()).not.toContain("secret-");
});

test.each([
  ["no grant type", { grant_type: "" }, {}, 400, "unsupported_grant_type"],
  ["a password", { grant_type: "password" }, {}, 400, "unsupported_grant_type"],
  ["two proofs", { client_id: "acme", client_secret: SECRET }, basic("acme", SECRET), 400, "invalid_request"],
  ["nothing", {}, {}, 401, "invalid_client"],
  ["no client id", { client_secret: SECRET }, {}, 401, "invalid_client"],
  ["an assertion of an unknown form", { client_assertion: "x", client_assertion_type: "y" }, {}, 401, "invalid_client"],
  ["broken Basic", {}, { authorization: "Basic %%%" }, 401, "invalid_client"],
] as const)("%s at the token endpoint", async (_, fields, headers, status, error) => {
  const { form } = await endpoints();
  const answer = await form(fields, { ...headers });
  expect([answer.status, await answer.json()]).toEqual([status, expect.objectContaining({ error })]);
});

test("other methods, types and long bodies are refused; an unreachable directory is not the credential's fault", async () => {
  const { form, post, ports } = await endpoints();
  const get = await answerEndpoint(new Request(`${ORIGIN}/token`), ports);
  expect([get.status, get.headers.get("allow")]).toEqual([405, "POST"]);
  expect((await post("/token", "{}", { "content-type": "application/json" })).status).toBe(400);
  expect((await form({ client_id: "acme", client_secret: "x".repeat(30_000) })).status).toBe(413);
  const away = await form({}, basic("away", SECRET));
  expect([away.status, away.headers.get("causeway-error")]).toEqual([503, "not-available"]);
  expect(away.headers.get("retry-after")).not.toBeNull();
});

test("the discovery document has every address and timing (P04)", async () => {
  const { ports } = await endpoints();
  const path = "/.well-known/relayserver-configuration";
  expect(isEndpoint(path)).toBe(true);
  const answer = await answerEndpoint(new Request(`http://relay.test:8787${path}`), ports);
  expect(await answer.json()).toMatchObject({
    issuer: "http://relay.test:8787",
    token_endpoint: "http://relay.test:8787/token",
    connect_endpoints: { a: "ws://relay.test:8787/connect/a", b: "ws://relay.test:8787/connect/b" },
    pairing_endpoint: "http://relay.test:8787/pair",
    token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
    keep_alive_ms: 25_000,
    reconnect_max_ms: 60_000,
    software: "causeway/test",
  });
});

test("asking to be let in tells nobody which tenants there are; it is limited (H85)", async () => {
  const { post, acme, ports } = await endpoints();
  const key = await signer("ES256");
  const body = (tenant: string) => JSON.stringify({ tenant, connector: "plant-9", key: key.jwk, software: "x/1" });
  const closed = await post("/pair", body("acme"));
  const unknown = await post("/pair", body("nobody"));
  expect([closed.status, unknown.status]).toEqual([404, 404]);
  const words = async (answer: Response) => (await answer.text()).replace(/"requestId":"[^"]*"/, "");
  expect(await words(closed)).toEqual(await words(unknown));
  expect((await post("/pair", "{}")).status).toBe(400);
  acme.set({ pairingUntilMs: NOW + 60_000 });
  const asked = await post("/pair", body("acme"));
  expect(asked.status).toBe(202);
  const location = asked.headers.get("location") ?? "";
  expect(isEndpoint(new URL(location, ORIGIN).pathname)).toBe(true);
  const poll = () => answerEndpoint(new Request(`${ORIGIN}${location}`), ports);
  expect(await (await poll()).json()).toEqual({ id: key.kid, status: "pending" });
  acme.grants.set("con_9", grant({ connectorId: "con_9", name: "plant-9", keys: [publicJwk.parse(key.jwk)] }));
  expect(await (await poll()).json()).toEqual({ id: key.kid, status: "accepted" });
  expect((await post("/pair", body("acme"))).status).toBe(202);
  expect((await post("/pair", body("acme"))).status).toBe(429);
});

test("a full memory of attempts forgets the one that began longest ago", () => {
  const attempts = createAttempts({ perWindow: 1, windowMs: 1_000, keysMax: 2 });
  for (const key of ["a", "b", "c"]) attempts.count(key, 0);
  expect(["a", "b", "c"].map((key) => attempts.blockedForMs(key, 400))).toEqual([0, 600, 600]);
});
