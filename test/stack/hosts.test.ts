import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { tenantHost } from "../../src/cli/api/types.ts";
import { type DnsServer, startDnsServer } from "../support/dns-server.ts";
import { type TestStack, startStack, stopStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

// Hosts that tenants bring (D10, H106), walked as an operator does: real edge, nodes with real Envoys, a real resolver of this machine.

/** The promise of a change's effect everywhere, counted from the answer of API or command. */
const EFFECTIVE = { timeoutMs: 10_000, intervalMs: 100 };

const stateDir = mkdtempSync(join(tmpdir(), "causeway-hosts-"));
let dns: DnsServer;
let stack: TestStack;
beforeAll(async () => {
  dns = await startDnsServer();
  stack = await startStack(stateDir, { env: { CAUSEWAY_DNS_RESOLVER_URL: dns.url } });
});
afterAll(async () => {
  await stopStack(stateDir);
  await dns.close();
  rmSync(stateDir, { recursive: true, force: true });
});

async function causeway(...args: string[]) {
  const { code, stdout, stderr } = await stack.cli(...args, "--json");
  return { code, stderr, data: (): unknown => JSON.parse(stdout) };
}
const hostOf = (data: unknown) => tenantHost.parse(data);

/** What its visitors get: the error's code, or whose service answered. */
async function seen(host: string): Promise<string> {
  const answer = await stack.request(host, "/app");
  const code = answer.headers["causeway-error"]?.toString();
  return code ?? z.object({ tenant: z.string(), host: z.string() }).parse(answer.json()).tenant;
}

async function claim(tenant: string, host: string) {
  const added = await causeway("tenant", "host", "add", tenant, host, "--wait");
  expect(added.code, added.stderr).toBe(0);
  const { records, ...about } = hostOf(added.data());
  const record = (type: string) => records.find((one) => one.type === type) ?? { name: "", value: "" };
  return { ...about, txt: record("TXT"), cname: record("CNAME") };
}

test("a customer's own host: claimed, proven, served by the tenant's rules, removed within 10 s, and proven anew", async () => {
  const host = "www.Shop.example";
  const { txt, state } = await claim("acme", host);
  expect([state, txt.name]).toEqual(["pending", "_causeway.www.shop.example"]);
  expect(await seen(host)).toBe("unknown-host");
  const early = await causeway("tenant", "host", "check", "acme", host, "--wait");
  expect([early.code, early.stderr]).toEqual([1, expect.stringContaining("there is no TXT record at")]);

  dns.set({ [`TXT ${txt.name}`]: [txt.value] });
  const checked = await causeway("tenant", "host", "check", "acme", host, "--wait");
  expect(checked.code, checked.stderr).toBe(0);
  await until("the host to be served", async () => (await seen(host)) === "acme", EFFECTIVE);
  // The service sees the visitor's own host, and members' routes are closed as on the tenant's first host.
  const answer = await stack.request(host, "/app/x?y=%2F");
  expect(answer.json()).toMatchObject({
    service: "app",
    path: "/app/x?y=%2F",
    host: expect.stringMatching(/^www\.shop\.example/),
  });
  expect((await stack.request(host, "/private")).status).toBe(401);
  expect((await stack.request("acme", "/private")).status).toBe(401);
  expect((await stack.request(`echo--${host.toLowerCase()}`, "/")).headers["causeway-error"]).toBe("unknown-host");

  const removed = await causeway("tenant", "host", "remove", "acme", host);
  expect(removed.code, removed.stderr).toBe(0);
  await until("the host to be unknown", async () => (await seen(host)) === "unknown-host", EFFECTIVE);
  expect(await seen("acme.causeway.localhost")).toBe("acme");

  await until("the host to be free", async () => {
    const { data } = await causeway("tenant", "host", "list", "acme");
    return !JSON.stringify(data()).includes("shop.example");
  });
  const again = await claim("acme", host);
  expect(again.txt.value).not.toBe(txt.value);
  expect(again.state).toBe("pending");
  expect(await seen(host)).toBe("unknown-host");

  // The record that was left behind does not help another tenant either; its own one does, and the first one loses nothing to it before.
  const other = await claim("globex", host);
  dns.set({ [`CNAME ${other.cname.name}`]: [other.cname.value] });
  expect((await causeway("tenant", "host", "check", "globex", host, "--wait")).code).toBe(0);
  await until("the host to be the other tenant's", async () => (await seen(host)) === "globex", EFFECTIVE);
  dns.set({ [`TXT ${again.txt.name}`]: [again.txt.value] });
  const late = await causeway("tenant", "host", "check", "acme", host, "--wait");
  expect([late.code, late.stderr]).toEqual([1, expect.stringContaining("another tenant has this host")]);
  expect(await seen(host)).toBe("globex");
});

describe("a proven host", () => {
  const host = "xn--mnchen-3ya.example";
  beforeAll(async () => {
    const { txt, host: canonical } = await claim("globex", "MÜNCHEN.example");
    expect(canonical).toBe(host);
    dns.set({ [`TXT ${txt.name}`]: [txt.value] });
    expect((await causeway("tenant", "host", "check", "globex", "MÜNCHEN.example", "--wait")).code).toBe(0);
    await until("the host to be served", async () => (await seen(host)) === "globex", EFFECTIVE);
  });

  test("is the same in any spelling of a Host header, and nobody's in a spelling that readers take differently", async () => {
    for (const name of ["XN--MNCHEN-3YA.EXAMPLE", `${host}.`]) expect(await seen(name)).toBe("globex");
    const status = (hostField: string | undefined) =>
      new Promise<string>((resolve, reject) => {
        const headers = hostField === undefined ? {} : { host: hostField };
        const asked = httpRequest(
          { host: "127.0.0.1", port: stack.edgePort, path: "/app", headers, agent: false, setHost: false },
          (response) => {
            response.resume();
            const code = response.headers["causeway-error"]?.toString();
            response.once("end", () => resolve(code ?? String(response.statusCode)));
          },
        );
        asked.once("error", reject);
        asked.end();
      });
    const answers = [
      `${host}:8443`,
      `sub.${host}`,
      `${host}..`,
      "münchen.example",
      "[::1]:80",
      "[::1]",
      "127.0.0.1",
      undefined,
    ];
    const codes = await Promise.all(
      answers.map((name) => status(name === undefined ? name : Buffer.from(name).toString("latin1"))),
    );
    expect(codes[0]).toBe("200");
    for (const code of codes.slice(1)) expect(["unknown-host", "bad-request", "400"]).toContain(code);
  });

  test("is suspended and resumed with its tenant within 10 s, and never another page's", async () => {
    expect((await causeway("tenant", "suspend", "globex", "--wait")).code).toBe(0);
    await until("the host to be suspended", async () => (await seen(host)) === "tenant-suspended", EFFECTIVE);
    expect((await causeway("tenant", "resume", "globex", "--wait")).code).toBe(0);
    await until("the host to be back", async () => (await seen(host)) === "globex", EFFECTIVE);
  });
});

test("a tenant that is deleted leaves no host behind, and its records are worth nothing to its successor", async () => {
  const host = "www.successor.example";
  expect((await causeway("tenant", "create", "initech", "--wait")).code).toBe(0);
  const { txt, cname } = await claim("initech", host);
  dns.set({ [`TXT ${txt.name}`]: [txt.value], [`CNAME ${cname.name}`]: [cname.value] });
  expect((await causeway("tenant", "host", "check", "initech", host, "--wait")).code).toBe(0);
  await until("the host to be served", async () => (await seen(host)) === "initech", EFFECTIVE);
  expect((await causeway("tenant", "delete", "initech", "--force")).code).toBe(0);
  await until("the host to be unknown", async () => (await seen(host)) === "unknown-host", EFFECTIVE);
  await until("its name to be free", async () => (await causeway("tenant", "show", "initech")).code !== 0);
  expect((await causeway("tenant", "create", "initech", "--wait")).code).toBe(0);
  expect((await claim("initech", host)).state).toBe("pending");
  expect(await seen(host)).toBe("unknown-host");
});

test("a host below another cluster's base domain is nobody's own (D12)", async () => {
  const east = ["cluster", "create", "east", "--domains", "east.causeway.localhost"];
  const database = ["--database-binding", "CLUSTER_DB_DEFAULT", "--database-address", "postgres://127.0.0.1:1/none"];
  const made = await causeway(...east, ...database);
  expect(made.code, made.stderr).toBe(0);
  expect(made.data()).toMatchObject({ name: "east", baseDomains: ["east.causeway.localhost"], isDefault: false });
  // Its domain is the platform's from now on.
  const refused = await causeway("tenant", "host", "add", "acme", "shop.east.causeway.localhost");
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("base domain of the platform")]);
});

test("a cluster gets another base domain and loses it again, by its commands", async () => {
  const base = stack.baseDomain;
  const listed = await stack.cli("cluster", "list");
  expect(listed.stdout, listed.stderr).toMatch(new RegExp(`^default +yes +${base}`, "m"));
  const set = (domains: string) => causeway("cluster", "domains", "default", "--set", domains, "--wait");
  const more = await set(`${base}, more.example`);
  expect(more.code, more.stderr).toBe(0);
  expect(more.data()).toMatchObject({ name: "default", baseDomains: [base, "more.example"] });
  await until("acme's host below it", async () => (await seen("acme.more.example")) === "acme", EFFECTIVE);
  const nonsense = await set("no domain");
  expect([nonsense.code, nonsense.stderr]).toEqual([2, expect.stringContaining("not a domain name")]);
  expect((await set(base)).code).toBe(0);
  await until("that host to be gone", async () => (await seen("acme.more.example")) === "unknown-host", EFFECTIVE);
  expect(await seen("acme")).toBe("acme");
});

test("maintenance of everything or of a cluster begins and ends by its command (D2)", async () => {
  const maintenance = async (...args: string[]) => {
    const { code, stderr } = await causeway("maintenance", ...args, "--wait");
    expect(code, stderr).toBe(0);
  };
  const codes = async () => await Promise.all(["acme", "plc--acme", stack.baseDomain].map(codeAt));
  const codeAt = async (host: string) => (await stack.request(host, "/")).headers["causeway-error"] ?? "none";
  await maintenance("on", "--message", "Back at noon.", "--retry-after", "120");
  await until(
    "everything to be closed",
    async () => new Set([...(await codes()), "maintenance"]).size === 1,
    EFFECTIVE,
  );
  const page = await stack.request("acme", "/", { headers: { accept: "text/html" } });
  expect([page.status, page.headers["retry-after"]]).toEqual([503, "120"]);
  expect(page.text).toContain("Back at noon.");
  await maintenance("on", "--cluster", "default");
  await maintenance("off");
  await until("the portal to be back", async () => (await codeAt(stack.baseDomain)) === "none", EFFECTIVE);
  expect(await codeAt("acme")).toBe("maintenance");
  const shown = await stack.cli("maintenance");
  expect(shown.stdout, shown.stderr).toMatch(/^the whole platform: off\ncluster default: on .*\n/);
  await maintenance("off", "--cluster", "default");
  expect((await causeway("maintenance", "show", "--cluster", "default")).data()).toEqual({
    cluster: "default",
    maintenance: null,
  });

  const usage = await causeway("maintenance", "perhaps");
  expect([usage.code, usage.stderr]).toEqual([2, expect.stringContaining('"perhaps" is neither on nor off')]);
  const nowhere = await causeway("maintenance", "on", "--cluster", "nowhere");
  expect([nowhere.code, nowhere.stderr]).toEqual([1, expect.stringContaining("nowhere")]);
});
