import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { selfSigned } from "../../../test/support/certificate.ts";
import { TARGET_ANSWER_TIMEOUT_MS } from "../limits.ts";
import { parsePushedTargets, parseTarget, type TargetSource } from "./target-config.ts";
import { parseSiteSettings } from "./target-settings.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-targets-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const web = (settings: unknown): TargetSource => ({ name: "erp", settings, folder });

test("a target has a name and an address", () => {
  expect(parseTarget("demo=http://127.0.0.1:3000/base")).toMatchObject({
    ok: true,
    value: {
      kind: "web",
      name: "demo",
      url: new URL("http://127.0.0.1:3000/base"),
      timeoutMs: TARGET_ANSWER_TIMEOUT_MS,
      host: "target",
      rewriteLocations: "origin",
      followRedirects: 0,
      health: null,
      readOnly: false,
      tls: { insecure: false, minVersion: "1.2" },
    },
  });
  expect(parseTarget("a=https://x.local#timeout=2.5")).toMatchObject({
    value: { timeoutMs: 2500, url: new URL("https://x.local/") },
  });
});

test("debug targets have short names, a star takes what nobody has", () => {
  expect(parseTarget("echo")).toEqual({ ok: true, value: { kind: "echo", name: "echo" } });
  expect(parseTarget("mirror=debug:echo")).toEqual({ ok: true, value: { kind: "echo", name: "mirror" } });
  expect(parseTarget("up=debug:ping")).toEqual({ ok: true, value: { kind: "ping", name: "up" } });
  expect(parseTarget("*=http://127.0.0.1:1")).toMatchObject({ ok: true, value: { name: "*" } });
});

test("a flag says the same as a file", () => {
  const flag = parseTarget(
    "erp=https://erp.local/web#timeout=60&connectTimeout=2&idleTimeout=30&host=preserve&stripPrefix=/plant&maxConcurrent=8" +
      "&readOnly=true&followRedirects=true&rewriteLocations=all&tls.serverName=erp.example&tls.minVersion=1.3" +
      "&requestHeaders.set.X-Site=plant%201&requestHeaders.remove=Cookie,%20X-B&responseHeaders.add.X-C=d" +
      "&health.path=/up&health.status=200,300-302&health.interval=5",
  );
  const file = parseTarget(
    web({
      url: "https://erp.local/web",
      timeout: 60,
      connectTimeout: 2,
      idleTimeout: 30,
      host: "preserve",
      stripPrefix: "/plant",
      maxConcurrent: 8,
      readOnly: true,
      followRedirects: 5,
      rewriteLocations: "all",
      tls: { serverName: "erp.example", minVersion: "1.3" },
      requestHeaders: { set: { "X-Site": "plant 1" }, remove: ["Cookie", "X-B"] },
      responseHeaders: { add: { "X-C": ["d"] } },
      health: { path: "/up", status: "200,300-302", interval: 5 },
    }),
  );
  expect(flag.ok && flag.value).toEqual(file.ok && file.value);
  expect(file).toMatchObject({
    value: {
      idleTimeoutMs: 30_000,
      followRedirects: 5,
      requestHeaders: { set: { "X-Site": "plant 1" }, add: {}, remove: ["Cookie", "X-B"] },
      health: {
        path: "/up",
        status: [
          { from: 200, to: 200 },
          { from: 300, to: 302 },
        ],
        interval: 5000,
        unhealthyAfter: 3,
      },
    },
  });
});

test.each([
  ["demo", "needs an address"],
  ["=http://x", "too short"],
  ["De mo=http://x", "lower-case"],
  ["a--b=http://x", "hyphens"],
  ["**=http://x", "lower-case"],
  ["demo=127.0.0.1:3000", "as http://127.0.0.1:3000"],
  ["demo=localhost:3000", "as http://127.0.0.1:3000"],
  ["http://127.0.0.1:3000", "web=http://127.0.0.1:3000"],
  ["http://127.0.0.1:3000/?a=secret", "needs a name"],
  ["demo=ftp://x", "http"],
  ["demo=http://user:pw@x", "password"],
  ["demo=http://x?y", "query"],
  ["demo=http://x#timeout=soon", "seconds"],
  ["demo=http://x#retries=3", 'unknown setting "retries"'],
  ["demo=http://x#requestHeaders.set.Transfer-Encoding=chunked", "requestHeaders"],
  ["demo=http://x#requestHeaders.set.Causeway-Request-Id=1", "requestHeaders"],
  ["demo=http://x#requestHeaders.set.Host=a", "requestHeaders"],
  ["demo=http://x#requestHeaders.set.X=a%0d%0aEvil:%20secret", "requestHeaders"],
  ["demo=http://x#responseHeaders.set.X=a%00secret", "responseHeaders"],
  ["demo=http://x#__proto__.polluted=secret", "unknown setting"],
  ["demo=http://x#host=a%20b", "host: write a host name"],
  ["demo=http://x#health.status=abc", "health.status: write statuses as 200-399 or 200,204"],
  ["demo=http://x#timeout=0", "timeout: write seconds, more than 0 and up to 86400"],
  ["demo=http://x#readOnly=secret", "readOnly: write true or false"],
  ["demo=http://x#maxConcurrent=1.5", "maxConcurrent: write a whole number from 1 to 4096"],
  ["demo=http://x#stripPrefix=erp", "stripPrefix: write a path as /erp"],
  ["demo=http://x#followRedirects=secret", "followRedirects: write true, false or a number up to 20"],
  ["demo=http://x#rewriteLocations=secret", "rewriteLocations: write origin, off or all"],
  ["demo=http://x#origin=secret", "origin: write auto or preserve or target"],
  ["demo=http://x#tls.minVersion=1.1", "tls.minVersion: write 1.2 or 1.3"],
  ["demo=http://x#tls.serverName=a/b", "tls.serverName: write a host name"],
])("%s is refused", (option, words) => {
  const parsed = parseTarget(option);
  expect(parsed.ok).toBe(false);
  if (parsed.ok) return;
  expect(parsed.error).toContain(words);
  expect(parsed.error).not.toContain("secret");
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
});

describe("files", () => {
  test("are relative to the file that names them, and checked", () => {
    const { cert, key } = selfSigned({ dns: ["x"] });
    writeFileSync(join(folder, "cert.pem"), cert);
    writeFileSync(join(folder, "key.pem"), key);
    writeFileSync(join(folder, "other.pem"), selfSigned({ dns: ["x"] }).key);
    writeFileSync(join(folder, "password"), "user:pass:word\n");
    const good = { ca: "cert.pem", certificate: "cert.pem", key: "key.pem" };
    expect(parseTarget(web({ url: "https://x", tls: good, basicAuth: "password" }))).toMatchObject({
      value: { tls: { ca: join(folder, "cert.pem") }, basicAuth: join(folder, "password") },
    });
    const wrong: [object, string][] = [
      [{ tls: { ca: "missing.pem" } }, "tls.ca can't be read (ENOENT)"],
      [{ tls: { ca: "key.pem" } }, "tls.ca holds no PEM certificate"],
      [{ tls: { certificate: "cert.pem" } }, "belong together"],
      [{ tls: { certificate: "cert.pem", key: "other.pem" } }, "fits together"],
      [{ basicAuth: "key.pem" }, "user:password"],
    ];
    for (const [settings, words] of wrong) {
      const parsed = parseTarget(web({ url: "https://x", ...settings }));
      expect(parsed).toMatchObject({ ok: false, error: expect.stringContaining(words) });
    }
  });

  test("and switched-off checks can't be pushed", () => {
    const push = (settings: object) => parsePushedTargets(JSON.stringify({ erp: { url: "https://x", ...settings } }));
    expect(push({ tls: { serverName: "y" }, timeout: 3 })).toMatchObject({
      ok: true,
      value: [{ name: "erp", timeoutMs: 3000, tls: { serverName: "y", insecure: false }, basicAuth: null }],
    });
    for (const settings of [{ tls: { ca: "/etc/x" } }, { tls: { insecure: true } }, { basicAuth: "/etc/shadow" }])
      expect(push(settings)).toMatchObject({ ok: false, error: expect.stringContaining("unknown setting") });
    expect(parsePushedTargets('{"a":"http://x","b":{"url":"http://y","disabled":true}}')).toMatchObject({
      value: [{ name: "a" }],
    });
    for (const json of ["[]", "null", "{", '{"A b":"http://x"}', '{"a":5}'])
      expect(parsePushedTargets(json).ok).toBe(false);
  });
});

test("the documentation's example says what there is", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../docs/connector.md"), "utf8");
  const [, example = ""] = /## Targets[\s\S]*?```yaml\n([\s\S]*?)```/.exec(text) ?? [];
  const { targets } = z
    .object({ targets: z.object({ erp: z.looseObject({ url: z.string() }) }) })
    .parse(parse(example));
  const parsed = parseSiteSettings(targets.erp, "/etc/causeway");
  expect(parsed).toMatchObject({ ok: true, value: { timeout: 60_000, tls: { ca: "/etc/causeway/erp-ca.pem" } } });
  const said = (value: object) => Object.keys(value).toSorted();
  if (!parsed.ok) return;
  expect(said(targets.erp)).toEqual(said(parsed.value));
  expect(said(z.looseObject({}).parse(targets.erp["tls"]))).toEqual(said(parsed.value.tls));
  expect(said(z.looseObject({}).parse(targets.erp["health"]))).toEqual(said(parsed.value.health ?? {}));
});

test("a disabled target is none", () => {
  expect(parseTarget(web({ url: "http://x", disabled: true }))).toEqual({ ok: true, value: null });
});
