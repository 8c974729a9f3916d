import { createHash, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readRelayConfig } from "./config.ts";

let folder: string;
const pair = generateKeyPairSync("ed25519");
const { x } = pair.publicKey.export({ format: "jwk" });
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cw-relay-config-"));
  writeFileSync(join(folder, "key.pem"), pair.publicKey.export({ type: "spki", format: "pem" }));
  writeFileSync(join(folder, "private.pem"), pair.privateKey.export({ type: "pkcs8", format: "pem" }));
  writeFileSync(join(folder, "secret"), "a secret of the tests, long enough\n");
});
afterAll(() => rmSync(folder, { recursive: true }));

const read = (yaml: string, lane: "a" | "b" | "both" = "both") => {
  const file = join(folder, "relay.yaml");
  writeFileSync(file, yaml);
  return readRelayConfig(file, { lane, revision: 7 });
};
const problem = (yaml: string, lane: "a" | "b" | "both" = "both") => {
  const result = read(yaml, lane);
  return result.ok ? "it is valid" : result.error;
};
const tenant = (text: string) => `baseDomains: [example.com]\ntenants:\n  acme:\n${text.replace(/^/gm, "    ")}\n`;

describe("a relay's file", () => {
  test("becomes grants, settings, routes and hashes", () => {
    const result = read(
      tenant(`hosts: [Shop.Example.org]
access: token
routes: [{ prefix: /app, target: demo, access: public }, { prefix: /api, target: api, timeouts: { totalMs: 5 } }]
targets: { echo: { access: public } }
tokens: { ci: { file: secret } }
connectors:
  plant-1: { keys: [{ file: key.pem }], secrets: [{ file: secret }], targets: [demo], readOnly: true, expiresAt: 2030-01-01T00:00:00Z }
settings: { limits: { requestsPerSecond: 5 }, waitForConnectorMs: 100 }`),
    );
    if (!result.ok) throw new Error(result.error);
    const [acme] = result.value.tenants;
    const sha256 = createHash("sha256").update("a secret of the tests, long enough").digest("hex");
    expect(acme).toMatchObject({
      slug: "acme",
      hosts: ["shop.example.org"],
      routes: [
        { prefix: "/app", access: "public" },
        { prefix: "/api", access: "member" },
      ],
      settings: { revision: 7, waitForConnectorMs: 100, limits: { requestsPerSecond: 5, bodyBytes: null } },
      grants: [
        {
          name: "plant-1",
          tenant: "acme",
          keys: [{ kty: "OKP", x }],
          secrets: [{ id: "secret-1", sha256 }],
          targets: ["demo"],
          readOnly: true,
          expiresAtMs: Date.UTC(2030, 0, 1),
        },
      ],
    });
    expect(acme?.tokens[0]?.sha256.toString("hex")).toBe(sha256);
    expect(acme?.targetAccess.get("echo")).toBe("public");
    expect(result.value.files.map((file) => file.slice(folder.length + 1))).toEqual([
      "relay.yaml",
      "secret",
      "key.pem",
    ]);
  });

  test("differs by lane where it says so", () => {
    const yaml = `listen: { visitors: 8080 }
baseDomains: [example.com]
lanes:
  a: { listen: { visitors: 8081 }, peer: { url: http://127.0.0.1:8082, secretFile: secret } }
  b: { listen: { visitors: 8082 } }
`;
    const listens = (["a", "b", "both"] as const).map((lane) => {
      const result = read(yaml, lane);
      return result.ok ? [result.value.listen.visitors.port, result.value.peer !== null] : result.error;
    });
    expect(listens).toEqual([
      [8081, true],
      [8082, false],
      [8080, false],
    ]);
  });

  test.each([
    ["", "baseDomains: "],
    ["baseDomains: []", "baseDomains: "],
    ["baseDomains: ['127.0.0.1']", "baseDomains.0: this is not a host name"],
    ["baseDomains: [example.com]\nlisten: { visitors: 'x:y' }", "listen.visitors: write an address as 127.0.0.1:8080"],
    ["baseDomains: [example.com]\nenigne: node", "enigne: there is no such setting"],
    ["a: [", "it is not YAML"],
    [tenant("hosts: [x.example.com]"), "lies below a base domain"],
    [tenant("connectors: { c: {} }"), "tenants.acme.connectors.c: give it keys, secrets or an issuerSubject"],
    [
      tenant("connectors: { c: { keys: [{ file: private.pem }] } }"),
      "tenants.acme.connectors.c.keys.0: the file holds a private key",
    ],
    [tenant("connectors: { c: { keys: [{ file: nowhere.pem }] } }"), "nowhere.pem can't be read (ENOENT)"],
    [
      tenant("connectors: { c: { keys: [{ file: key.pem, kdi: 1 }] } }"),
      "tenants.acme.connectors.c.keys.0.kdi: there is no such setting",
    ],
    [tenant("tokens: { ci: { sha256: 12 } }"), "tenants.acme.tokens.ci.sha256: "],
    [
      tenant("settings: { limits: { requests: 1 } }"),
      "tenants.acme.settings.limits.requests: there is no such setting",
    ],
    [tenant("routes: [{ prefix: /a/, target: demo }]"), "tenants.acme.routes.0.prefix: start with /"],
    [
      tenant("routes: [{ prefix: /a, target: Demo }]"),
      "tenants.acme.routes.0.target: this can't be the name of a target",
    ],
    ["baseDomains: [example.com]\ntenants: { www: {} }", "tenants.www: This name is reserved."],
    [
      "baseDomains: [example.com]\ntls: { certificate: key.pem, key: private.pem }",
      "tls: certificate and key are PEM files",
    ],
    [
      "baseDomains: [example.com]\npeer: { url: http://127.0.0.1:1, secretFile: secret }",
      "peer: only for --lane a or --lane b",
    ],
    ["baseDomains: example.com", "line 1: baseDomains: write a list, as [a, b]"],
    ["baseDomains: [example.com]\ndrainSeconds: 1h", "line 2: drainSeconds: write a number"],
    ["baseDomains: [example.com]\nengine: nginx", "line 2: engine: write llhttp or node"],
    [tenant("routes:\n  - { prefix: /a }"), "line 5: tenants.acme.routes.0.target: it is missing: write a text"],
    [tenant("routes:\n\n  - { prefix: /a, target: b, acess: token }"), "line 6: tenants.acme.routes.0.acess: there is"],
    [tenant("tokens: { ci: { file: secret, expiresAt: soon } }"), "expiresAt: write a time as 2027-01-01T00:00:00Z"],
    [tenant("connectors: { c: { keys: [key.pem] } }"), "connectors.c.keys.0: write { file: site-1.pub.pem }"],
    [
      tenant("connectors: { c: { keys: [{ kty: OKP, d: abc }] } }"),
      "keys.0: this is a private key; give the public half",
    ],
    [tenant("connectors: { c: { keys: [{ kty: RSA }] } }"), "keys.0: write an Ed25519 or P-256 key as JWK"],
    [tenant("connectors: { a b: { keys: [{ file: key.pem }] } }"), "connectors.a b: use letters, digits"],
  ])("is refused with its place and what to write: %s", (yaml, text) => {
    expect(problem(yaml)).toContain(text);
  });

  test("is never quoted in an error", () => {
    const secret = "0123456789abcdef0123456789abcdef";
    expect(problem(tenant(`tokens: { ci: { sha256: ${secret} } }`))).not.toContain(secret);
  });
});
