import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import postgres from "postgres";
import { beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { localStack } from "../../src/cli/local/local-json.ts";
import { PACKAGE_ROOT } from "../../src/cli/local/paths.ts";
import { localhostLookup } from "../../src/shared/localhost-lookup.node.ts";
import { runCli } from "../support/cli.ts";
import { type TestStack, sharedStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

let stack: TestStack;
beforeAll(async () => {
  stack = await sharedStack();
});

test.each([
  ["acme", "walter-white", "app"],
  ["acme", "walter-white", "connectors"],
  ["acme", "walter-white", "manager"],
  ["globex", "hank-schrader", "app"],
  ["globex", "hank-schrader", "connectors"],
  ["globex", "hank-schrader", "manager"],
])("%s answers from %s at /%s, naming service, tenant, node and the visitor's host", async (tenant, node, service) => {
  const answer = await stack.request(tenant, `/${service}/x?y=1`);
  expect(answer.status).toBe(200);
  expect(answer.json()).toMatchObject({
    service,
    tenant,
    node,
    host: expect.stringMatching(new RegExp(`^${tenant}\\.causeway\\.localhost(:\\d+)?$`)),
    path: `/${service}/x?y=1`,
    proto: "http",
  });
});

test("an unknown host gets the portal's page, or a problem when a program asks", async () => {
  const page = await stack.request("nobody", "/", { headers: { accept: "text/html" } });
  expect([page.status, page.headers["causeway-error"]]).toEqual([404, "unknown-host"]);
  expect(page.text).toContain("<html");
  const problem = await stack.request("nobody", "/", { headers: { accept: "application/json" } });
  expect([problem.status, problem.json()["code"]]).toEqual([404, "unknown-host"]);
});

test("the bare domain is the portal's", async () => {
  const page = await stack.request(stack.baseDomain, "/", { headers: { accept: "text/html" } });
  expect(page.status).toBe(200);
  expect(page.text).toContain("Causeway");
});

test("the site behind the connector answers on its own host, by the tenant's route and by the relay's", async () => {
  const own = await stack.request("demo--acme", "/");
  expect([own.status, own.headers["content-type"]]).toEqual([200, expect.stringContaining("text/html")]);
  const first = await stack.request("acme", "/", { headers: { accept: "text/html" } });
  expect([first.status, first.headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
  expect(first.text).toContain('<a href="/plant/">');
  expect((await stack.request("acme", "/nothing")).status).toBe(404);
  const route = await stack.request("acme", "/plant/");
  // The same page, whose addresses start at the route.
  expect([route.status, route.text.replace('<base href="/plant/" />', '<base href="/" />')]).toEqual([200, own.text]);
  expect(route.text).not.toBe(own.text);
  const ping = await stack.request("relay", "/relay/acme/ping/");
  expect([ping.status, ping.text.trim()]).toEqual([200, "PONG"]);
});

test("an upload through the tunnel arrives whole", async () => {
  const body = Buffer.alloc(3_000_000, "causeway");
  const answer = await stack.request("demo--acme", "/upload", { method: "POST", body });
  const { createHash } = await import("node:crypto");
  expect(answer.json()).toMatchObject({ bytes: body.length, sha256: createHash("sha256").update(body).digest("hex") });
});

test("the console answers on its own port only", async () => {
  const asked = await fetch(`${stack.consoleUrl}/api/v1/tenants`, {
    headers: { authorization: `Bearer ${stack.apiToken}` },
  });
  expect(asked.status).toBe(200);
  expect((await fetch(`${stack.consoleUrl}/api/v1/tenants`)).status).toBe(401);
  for (const host of ["console", stack.baseDomain, "acme"]) {
    const wrong = await stack.request(host, "/api/v1/tenants", {
      headers: { authorization: `Bearer ${stack.apiToken}` },
    });
    expect(wrong.status, host).toBe(404);
  }
});

test("no header reaches a Worker past the edge (R08)", async () => {
  for (const worker of ["causeway-console", "causeway-relay-control", "causeway-portal"]) {
    const answer = await stack.request("nobody", "/healthz", { headers: { "mf-route-override": worker } });
    expect([answer.status, answer.headers["causeway-error"]], worker).toEqual([404, "unknown-host"]);
  }
});

test("local.json has all that programs need, for its owner only", () => {
  const file = join(stack.stateDir, "local.json");
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const local = localStack.strict().parse(JSON.parse(readFileSync(file, "utf8")));
  expect(local).toMatchObject({
    edgeUrl: `http://127.0.0.1:${stack.edgePort}`,
    baseDomain: "causeway.localhost",
    consoleUrl: `http://127.0.0.1:${stack.edgePort + 1}`,
    relayUrl: `http://relay.causeway.localhost:${stack.edgePort}`,
    tenants: [
      { slug: "acme", host: "acme.causeway.localhost" },
      { slug: "globex", host: "globex.causeway.localhost" },
    ],
    connectors: [{ tenant: "acme", name: "plant-1" }],
  });
  expect(local.nodes.map(({ name }) => name)).toEqual(["walter-white", "hank-schrader"]);
});

test("nothing below the state folder is open to others, whatever wrote it", () => {
  // Postgres' own user may have to pass through the folder itself (0711); nobody may list or read it.
  expect(statSync(stack.stateDir).mode & 0o066).toBe(0);
  const open = readdirSync(stack.stateDir, { recursive: true, encoding: "utf8" }).flatMap((name) => {
    // A database's files come and go.
    const found = lstatSync(join(stack.stateDir, name), { throwIfNoEntry: false });
    if (found === undefined || found.isSymbolicLink() || (found.mode & 0o077) === 0) return [];
    return [`${name} ${(found.mode & 0o777).toString(8)}`];
  });
  expect(open).toEqual([]);
});

test("no secret is in a log or in a command line", async () => {
  const secrets: unknown = JSON.parse(readFileSync(join(stack.stateDir, "secrets.json"), "utf8"));
  const values = leaves(secrets).filter((value) => value.length >= 12 && !value.includes("@"));
  expect(values.length).toBeGreaterThan(8);
  const { listProcesses } = await import("../../src/cli/local/process-table.ts");
  const commands = listProcesses().map(({ command }) => command);
  const logs = stack
    .parts()
    .map(({ name }) => (existsSync(join(stack.stateDir, "logs", `${name}.log`)) ? stack.log(name) : ""));
  const haystack = [...commands, ...logs, stack.log("supervisor")].join("\n");
  // Key ids and public coordinates may be seen; everything else may not.
  for (const value of values.filter((one) => !isPublic(secrets, one))) expect(haystack.includes(value)).toBe(false);
});

const leaves = (value: unknown): string[] =>
  typeof value === "string"
    ? [value]
    : typeof value === "object" && value !== null
      ? Object.values(value).flatMap(leaves)
      : [];

const isPublic = (secrets: unknown, value: string): boolean =>
  JSON.stringify(secrets).includes(`"kid":"${value}"`) || JSON.stringify(secrets).includes(`"x":"${value}"`);

test("a tenant is made with one command, and is usable within 5 seconds while nothing restarts", async () => {
  const pids = () => stack.parts().map(({ name, pid }) => [name, pid]);
  const uptimes = () =>
    Promise.all(
      stack.nodes.map(async ({ adminUrl }) => {
        const text = await (await fetch(`${adminUrl}/stats?filter=^server.uptime$`)).text();
        return Number(/\d+/.exec(text)?.[0]);
      }),
    );
  const [pidsBefore, uptimesBefore] = [pids(), await uptimes()];
  expect((await stack.request("initech", "/app")).status).toBe(404); // Asked for just before: the miss must not linger.
  const begin = Date.now();
  const made = await stack.cli("tenant", "create", "initech", "--wait", "--json");
  expect(made.code, made.stderr).toBe(0);
  // The edge may keep a miss for a second; within two a new tenant is there.
  const answer = await until("initech answers", async () => {
    const asked = await stack.request("initech", "/app");
    return asked.status === 200 && asked;
  });
  expect(Date.now() - begin).toBeLessThan(5_000);
  expect(answer.json()).toMatchObject({ tenant: "initech", service: "app" });
  expect(JSON.parse(made.stdout)).toMatchObject({
    slug: "initech",
    state: "active",
    hosts: ["initech.causeway.localhost"],
  });
  expect(made.stderr).toContain("✓");
  expect(pids()).toEqual(pidsBefore);
  for (const [node, uptime] of (await uptimes()).entries())
    expect(uptime).toBeGreaterThanOrEqual(uptimesBefore[node] ?? Infinity);
});

test("a tenant has a schema and a role of its own, and can't reach another's", async () => {
  const ids = await Promise.all(
    ["acme", "globex"].map(
      async (slug) => (await stack.api.get(`/tenants/${slug}`, z.looseObject({ id: z.string() }))).id,
    ),
  );
  const sql = postgres(stack.databaseUrl.replace(/[^/]*$/, "causeway_default"), { max: 1, onnotice: () => {} });
  try {
    const rights = await sql<{ role: string; schema: string; usage: boolean }[]>`
      SELECT rolname AS role, nspname AS schema, has_schema_privilege(rolname, nspname, 'USAGE') AS usage
      FROM pg_roles, pg_namespace WHERE rolname = ANY(${ids}) AND nspname = ANY(${ids})`;
    expect(rights.length).toBe(4);
    for (const { role, schema, usage } of rights) expect(usage, `${role} on ${schema}`).toBe(role === schema);
  } finally {
    await sql.end();
  }
});

test.each([
  ["a tenant's service on its node", "acme", "/app/ws"],
  ["the site behind the connector", "demo--acme", "/ws"],
])("WebSockets pass to %s", async (_, host, path) => {
  const socket = new WebSocket(`ws://${host}.${stack.baseDomain}:${stack.edgePort}${path}`, {
    lookup: localhostLookup,
  });
  const first = await new Promise<string>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("open", () => socket.send("hello"));
    socket.on("message", (data: Buffer) => {
      if (data.toString().includes("hello")) resolve(data.toString());
    });
  });
  expect(first).toContain("hello");
  const closed = new Promise<number>((resolve) => socket.once("close", resolve));
  socket.close(1000);
  expect(await closed).toBe(1000);
});

test("status shows every part running; logs shows what they said", async () => {
  const status = await stack.cli("status", "--json");
  expect(status.code).toBe(0);
  const parts = status.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(parts.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      "postgres",
      "workers",
      "workerd",
      "envoy-walter-white",
      "agent-hank-schrader",
      "connector-plant-1-a",
      "target-demo",
    ]),
  );
  for (const part of parts) {
    expect(part).toMatchObject({
      state: "running",
      pid: expect.any(Number),
      restarts: expect.any(Number),
      since: expect.any(String),
    });
  }
  expect((await stack.cli("status")).stdout).toMatch(/^PART\s+STATE\s+PID\s+RESTARTS\s+SINCE/);
  // The newest lines: how much other tests had the parts say before must not matter.
  const requestId = String((await stack.request("acme", "/app")).headers["causeway-request-id"]);
  expect(requestId).toMatch(/^req_/);
  await until("the request in the log", async () =>
    (await stack.cli("logs", "workers")).stdout.includes(`"requestId":"${requestId}"`),
  );
  expect((await stack.cli("logs")).stdout).toContain("workers");
  const unknown = await stack.cli("logs", "nope");
  expect([unknown.code, unknown.stdout]).toEqual([2, ""]);
});

test("lists are tables for people and lines of JSON for programs", async () => {
  expect((await stack.cli("tenant", "list")).stdout).toMatch(
    /^TENANT\s+STATE\s+NODE\s+HOSTS\nacme\s+active\s+walter-white/,
  );
  const lines = (await stack.cli("tenant", "list", "--json")).stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.find(({ slug }) => slug === "globex")).toMatchObject({ node: "hank-schrader", state: "active" });
  expect((await stack.cli("connector", "list", "acme", "--json")).stdout).toContain('"name":"plant-1"');
});

test("a connector is registered with a key made here, and its file is its owner's only", async () => {
  const dir = mkdtempSync(join(tmpdir(), "causeway-connector-"));
  try {
    const file = join(dir, "plant-7.json");
    const made = await stack.cli("connector", "create", "globex", "plant-7", "--out", file);
    expect(made.code, made.stderr).toBe(0);
    expect(made.stdout.trim()).toBe(file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
      relayUrl: stack.relayUrl,
      tenant: "globex",
      connector: "plant-7",
      privateKey: { kty: "OKP", crv: "Ed25519" },
    });
    const again = await stack.cli("connector", "create", "globex", "plant-7", "--out", file);
    expect(again.code).toBe(3);
    const taken = await stack.cli("connector", "create", "globex", "plant-7", "--out", join(dir, "other.json"));
    expect([taken.code, existsSync(join(dir, "other.json"))]).toEqual([1, false]);
    expect(made.stderr).toContain("holds a private key");
    const refused = await stack.cli("connector", "delete", "globex", "plant-7");
    expect(refused.code).toBe(3);
    expect((await stack.cli("connector", "delete", "globex", "plant-7", "--force", "--wait")).code).toBe(0);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("a connector's file lands under a name that the clone's git ignores", async () => {
  const folder = mkdtempSync(join(tmpdir(), "causeway-connector-"));
  try {
    const made = await runCli(
      ["connector", "create", "globex", "plant-8"],
      { CAUSEWAY_STATE_DIR: stack.stateDir },
      folder,
    );
    expect(made.stdout.trim()).toBe(join(realpathSync(folder), "globex-plant-8.credentials.json"));
    for (const name of [basename(made.stdout.trim()), `${basename(made.stdout.trim())}.instance`]) {
      expect(spawnSync("git", ["check-ignore", "--no-index", "--quiet", name], { cwd: PACKAGE_ROOT }).status).toBe(0);
    }
    expect((await stack.cli("connector", "delete", "globex", "plant-8", "--force", "--wait")).code).toBe(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("token create finds the local stack, as other commands do", async () => {
  const made = await stack.cli("token", "create", "for a test");
  expect(made.code, made.stderr).toBe(0);
  const asked = (token: string) =>
    fetch(`${stack.consoleUrl}/api/v1/tenants`, { headers: { authorization: `Bearer ${token}` } });
  expect((await asked(made.stdout.trim())).status).toBe(200);
  const elsewhere = { CAUSEWAY_STATE_DIR: stack.stateDir, CAUSEWAY_API_URL: "https://console.example.com" };
  const refused = await runCli(["token", "create", "for a test"], elsewhere);
  expect([refused.code, refused.stdout]).toEqual([2, ""]);
  // It is taken back by the id that the list shows, and who did it is on record.
  const listed = (await stack.cli("token", "list", "--json")).stdout.split("\n").filter(Boolean);
  const { id } = listed.map((line) => JSON.parse(line)).find((one) => one.name === "for a test" && !one.revokedAt);
  expect((await stack.cli("token", "revoke", id)).stdout).toContain("revoked");
  expect((await asked(made.stdout.trim())).status).toBe(401);
  const audit = await stack.cli("audit", "--subject", id, "--limit", "1", "--json");
  expect(JSON.parse(audit.stdout)).toMatchObject({ action: "token.revoke", subjectId: id });
});

test("a node is registered with a token in a file of its owner's, which enrols it; refused, it leaves no file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "causeway-node-token-"));
  try {
    const [first, second, third] = [join(folder, "first"), join(folder, "second"), join(folder, "third")];
    const key = join(folder, "node.json");
    // Dedicated: no other test's tenant comes to it.
    const node = ["heisenberg", "--envoy-url", "https://n3.example", "--label", "dedicated=true"];
    const noRoom = await stack.cli("nodes", "create", ...node, "--out", first);
    expect([noRoom.code, existsSync(first)]).toEqual([2, false]);
    const made = await stack.cli("nodes", "create", ...node, "--capacity", "1", "--out", first);
    expect(made.code, made.stderr).toBe(0);
    expect([made.stdout.trim(), statSync(first).mode & 0o777]).toEqual([first, 0o600]);
    expect((await stack.cli("nodes", "create", ...node, "--capacity", "1", "--out", first)).code).toBe(3);
    const again = await stack.cli("nodes", "create", ...node, "--capacity", "1", "--out", second);
    expect([again.code, existsSync(second)]).toEqual([1, false]);
    // The machine was lost before it came up: another token, and the first one is worth nothing.
    expect((await stack.cli("nodes", "token", "heisenberg", "--out", second)).code).toBe(0);
    const enrol = (file: string, out = key) =>
      stack.cli("node", "enroll", "--url", stack.relayUrl, "--token-file", file, "--out", out);
    expect([(await enrol(first)).code, (await enrol(second)).code]).toEqual([5, 0]);
    const listed = (await stack.cli("nodes", "list", "--json")).stdout.trim().split("\n");
    expect(listed.map((line) => JSON.parse(line)).find(({ name }) => name === "heisenberg")).toMatchObject({
      enrolled: expect.any(Boolean),
      capacity: 1,
      labels: { dedicated: "true" },
    });
    const set = (...args: string[]) => stack.cli("nodes", "set", "heisenberg", ...args);
    const changed = await set("--capacity", "2", "--label", "dedicated=true,zone=a", "--masters-address", "n3:10443");
    expect(changed.stdout.trim()).toBe("heisenberg  tenants: 0/2  labels: zone=a dedicated=true  masters: n3:10443");
    expect((await set("--masters-address", "none", "--wait")).stdout).toContain("true  masters: none");
    expect([(await set()).code, (await set("--capacity", "many")).code]).toEqual([2, 2]);
    // Removed, it can't be enrolled by a token that is open.
    expect((await stack.cli("nodes", "token", "heisenberg", "--out", third)).code).toBe(0);
    const removed = await stack.cli("nodes", "delete", "heisenberg", "--wait");
    expect([removed.code, removed.stdout], removed.stderr).toEqual([0, "heisenberg is removed\n"]);
    expect((await enrol(third, join(folder, "other.json"))).code).toBe(5);
    expect((await stack.cli("nodes", "list")).stdout).not.toContain("heisenberg");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.each([
  ["a slug that is taken", ["tenant", "create", "acme"], 1, "conflict"],
  ["a reserved slug", ["tenant", "create", "admin"], 2, "bad-request"],
  ["a malformed slug", ["tenant", "create", "-x"], 2, "unknown option"],
  ["a slug with two hyphens", ["tenant", "create", "a--b"], 2, "bad-request"],
  ["an unknown node", ["tenant", "create", "umbrella", "--node", "saul"], 2, "saul"],
  ["an unknown tenant", ["tenant", "show", "umbrella"], 1, "not-found"],
  ["a deletion without --force", ["tenant", "delete", "globex"], 3, "--force"],
  ["an unknown operation", ["operation", "show", "op_0"], 1, "not-found"],
])("%s is refused with a clear message and nothing half made", async (_, args, code, words) => {
  const before = (await stack.cli("tenant", "list", "--json")).stdout;
  const refused = await stack.cli(...args);
  expect([refused.code, refused.stdout]).toEqual([code, ""]);
  expect(refused.stderr).toContain(words);
  expect((await stack.cli("tenant", "list", "--json")).stdout).toBe(before);
});

test("a wrong token is exit 5, no console is exit 4, and no configuration is exit 2", async () => {
  const env = { CAUSEWAY_STATE_DIR: stack.stateDir };
  const wrong = await runCli(["tenant", "list"], { ...env, CAUSEWAY_API_TOKEN: "cwt_wrong" });
  expect([wrong.code, wrong.stderr]).toEqual([5, expect.stringContaining("CAUSEWAY_API_TOKEN")]);
  const away = await runCli(["tenant", "list"], {
    CAUSEWAY_API_URL: "http://127.0.0.1:1",
    CAUSEWAY_API_TOKEN: "cwt_x",
  });
  expect(away.code).toBe(4);
  const noToken = await runCli(["tenant", "list"], { ...env, CAUSEWAY_API_URL: "http://127.0.0.1:1" });
  expect(noToken.code).toBe(5); // The stack's token is not for others.
  const nothing = await runCli(["tenant", "list"], { CAUSEWAY_STATE_DIR: join(stack.stateDir, "none") });
  expect(nothing.code).toBe(2);
});

test("a second start says that it is running already, and changes nothing", async () => {
  const again = await stack.cli("up");
  expect([again.code, again.stderr]).toEqual([3, expect.stringContaining(stack.edgeUrl)]);
  expect((await stack.request("acme", "/app")).status).toBe(200);
});
