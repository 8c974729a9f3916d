import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadConfig, parseRelayUrl, withEnvironment, type ConnectorInput } from "./config.ts";
import { DRAIN_TIMEOUT_MS } from "./limits.ts";

let folder: string;
let input: ConnectorInput;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "causeway-config-"));
  const credentials = join(folder, "plant-1.json");
  const content = {
    relayUrl: "https://relay.example.com",
    tenant: "acme",
    connector: "plant-1",
    keyId: "key_1",
    privateKey: { kty: "OKP", crv: "Ed25519", x: "x".repeat(43), d: "d".repeat(43) },
  };
  writeFileSync(credentials, JSON.stringify(content), { mode: 0o600 });
  input = { credentials, targets: ["demo=http://127.0.0.1:3000", "echo"], allowPlainHttp: false };
});
afterEach(() => rmSync(folder, { recursive: true }));

test("the credentials file and one target are enough; the instance id survives", () => {
  const first = loadConfig(input, {});
  const second = loadConfig(input, {});
  expect(first).toMatchObject({
    ok: true,
    value: {
      warnings: [],
      config: {
        tenant: "acme",
        connector: "plant-1",
        lanes: ["a", "b"],
        ca: null,
        healthPort: null,
        drainTimeoutMs: DRAIN_TIMEOUT_MS,
        backoffCapMs: null,
        credential: { kind: "key", keyId: "key_1" },
        pushedFile: `${input.credentials}.pushed.json`,
      },
    },
  });
  if (!first.ok || !second.ok) throw new Error("not loaded");
  expect(second.value.config.instanceId).toBe(first.value.config.instanceId);
});

test("flags win over the environment, and both over the file", () => {
  const merged = withEnvironment(
    { ...input, tenant: "globex" },
    { CAUSEWAY_TENANT: "env", CAUSEWAY_CONNECTOR: "from-env", CAUSEWAY_LANES: "b", CAUSEWAY_TARGETS: "ping" },
  );
  expect(loadConfig(merged, {})).toMatchObject({
    ok: true,
    value: {
      config: { tenant: "globex", connector: "from-env", lanes: ["b"], targets: [{ name: "demo" }, { name: "echo" }] },
    },
  });
  const none = { ...input, targets: [] };
  expect(loadConfig(withEnvironment(none, { CAUSEWAY_TARGETS: "ping, x=debug:echo" }), {})).toMatchObject({
    value: { config: { targets: [{ name: "ping" }, { name: "x" }] } },
  });
});

test.each<[Partial<ConnectorInput>, string]>([
  [{ credentials: undefined }, "--credentials"],
  [{ targets: [], pushedTargets: false }, "--target"],
  [{ secretFile: "x" }, "one of"],
  [{ credentials: undefined, tokenFile: "x" }, "where the relay is"],
  [{ issuer: "http://id.example.com", clientId: "x" }, "https"],
  [{ issuer: "https://id.example.com" }, "--client-id"],
  [{ clientId: "x" }, "--issuer"],
  [{ targets: ["echo", "echo=debug:ping"] }, "twice"],
  [{ tenant: "Acme/x" }, "tenant"],
  [{ connector: "a+b" }, "connector"],
  [{ connector: "" }, "connector"],
  [{ instance: "a/b" }, "instance"],
  [{ lanes: "c" }, "lanes"],
  [{ healthPort: "70000" }, "health port"],
  [{ healthPort: "" }, "health port"],
  [{ drainTimeout: "-1" }, "drain timeout"],
  [{ ca: "/does/not/exist" }, "CA file"],
  [{ url: "ftp://x" }, "https"],
])("%o is refused with a clear message", (change, words) => {
  const loaded = loadConfig({ ...input, ...change }, {});
  expect(loaded.ok).toBe(false);
  if (!loaded.ok) expect(loaded.error).toContain(words);
});

test("plain http is for this machine only, or by name", () => {
  expect(parseRelayUrl("http://relay.causeway.localhost:8787", false).ok).toBe(true);
  expect(parseRelayUrl("http://relay.example.com", false).ok).toBe(false);
  expect(parseRelayUrl("http://relay.example.com", true).ok).toBe(true);
  expect(loadConfig({ ...input, url: "http://relay.test", allowPlainHttp: true }, {})).toMatchObject({
    value: { warnings: [expect.stringContaining("plain http")] },
  });
});

test("a secret file with URL and tenant is enough; state may be kept elsewhere", () => {
  const secretFile = join(folder, "secret");
  writeFileSync(secretFile, "  s3cret-s3cret\n", { mode: 0o600 });
  const named: ConnectorInput = {
    secretFile,
    url: "https://relay.example.com",
    tenant: "acme",
    stateDir: folder,
    targets: [],
    allowPlainHttp: false,
  };
  expect(loadConfig(named, {})).toMatchObject({
    ok: true,
    value: {
      config: { connector: null, credential: { kind: "secret", secret: "s3cret-s3cret" }, targets: [] },
    },
  });
  expect(loadConfig({ ...named, tenant: undefined }, {})).toMatchObject({ error: expect.stringContaining("--tenant") });
  writeFileSync(secretFile, "two words\n");
  const wrong = loadConfig(named, {});
  expect(wrong).toMatchObject({ ok: false, error: expect.stringContaining("one secret") });
  expect(JSON.stringify(wrong)).not.toContain("two words");
});

test("a credentials file may hold a secret; an issuer's client proves itself by a file's key or a secret", () => {
  const file = join(folder, "with-secret.json");
  const content = { relayUrl: "https://relay.example.com", tenant: "acme", clientSecret: "s3cret-s3cret" };
  writeFileSync(file, JSON.stringify(content), { mode: 0o600 });
  expect(loadConfig({ ...input, credentials: file }, {})).toMatchObject({
    value: { config: { tenant: "acme", connector: null, credential: { kind: "secret" } } },
  });
  const issuer = { issuer: "https://id.example.com/realm", clientId: "plant" };
  expect(loadConfig({ ...input, ...issuer }, {})).toMatchObject({
    value: { config: { credential: { kind: "issuer", clientId: "plant", auth: { kind: "key", keyId: "key_1" } } } },
  });
  expect(loadConfig({ ...input, ...issuer, credentials: file }, {})).toMatchObject({
    error: expect.stringContaining("must hold a key"),
  });
});
