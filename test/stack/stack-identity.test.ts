import { type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { connector, operation } from "../../src/cli/api/types.ts";
import { runCli, spawnCli } from "../support/cli.ts";
import { sharedStack, type TestStack } from "../support/stack.ts";
import { until } from "../support/until.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { startIssuer, type TestIssuer } from "../system/fixtures/issuer.ts";

// How connectors prove themselves to a whole stack, and what an operator's word does to those that are online. Bar: 2 s after the answer.
const TENANT = "globex";
const AT_ONCE_MS = 2_000;
const started = z.object({ operation, connector });

let stack: TestStack;
let folder: string;
let site: Server;
let siteUrl: string;
let counter = 0;
const running: ChildProcess[] = [];

beforeAll(async () => {
  stack = await sharedStack();
  folder = mkdtempSync(join(tmpdir(), "causeway-identity-"));
  site = createServer((request, response) => {
    request.resume();
    request.once("end", () => response.end(`${request.method} from the site`));
  });
  siteUrl = `http://127.0.0.1:${await listenOnLoopback(site)}`;
});
afterEach(async () => {
  await Promise.all(running.splice(0).map(stop));
});
afterAll(() => {
  site.close();
  rmSync(folder, { recursive: true, force: true });
});

function stop(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once("close", () => resolve());
    child.kill("SIGKILL");
  });
}

/** A name that is a connector's and its target's. */
const unique = (): string => `id${process.pid % 1000}-${(counter += 1)}`;

/** `causeway connect` with one target of that name. */
function connect(name: string, ...args: string[]): { output: () => string; child: ChildProcess } {
  const child = spawnCli([
    "connect",
    ...args,
    "--target",
    `${name}=${siteUrl}`,
    "--state-dir",
    folder,
    "--instance",
    name,
  ]);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (output += data.toString()));
  running.push(child);
  return { output: () => output, child };
}

const ask = (name: string, options: { method?: string; body?: string } = {}) =>
  stack.request(`${name}--${TENANT}`, "/x", options);
const served = async (name: string): Promise<boolean> => (await ask(name)).text === "GET from the site";
const isServed = (name: string) => until(`${name} to serve`, () => served(name));

/** Nobody serves the target within two seconds of now, which is right after the API's answer. */
async function endsAtOnce(name: string): Promise<void> {
  await until(`${name} to be gone`, async () => !(await served(name)), { timeoutMs: AT_ONCE_MS });
}

async function idOf(name: string): Promise<string> {
  const found = await stack.api.list(`/connectors?tenant=${TENANT}&q=${name}`, connector);
  return found.find((one) => one.name === name)?.id ?? "";
}

async function create(name: string, ...flags: string[]): Promise<string> {
  const file = join(folder, `${name}-${(counter += 1)}.json`);
  const made = await stack.cli("connector", "create", TENANT, name, "--out", file, ...flags);
  expect(made.code, made.stderr).toBe(0);
  return file;
}

const remove = (name: string) => stack.cli("connector", "delete", TENANT, name, "--force", "--wait");

const form = (fields: Record<string, string>, headers: Record<string, string> = {}) =>
  stack.request("relay", "/token", {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
    body: new URLSearchParams({ grant_type: "client_credentials", ...fields }).toString(),
  });

test("a secret is enough to connect; a second one goes beside it; the removed one ends its sockets at once (R06, R07, P05)", async () => {
  const name = unique();
  const file = await create(name, "--secret");
  const { clientSecret } = z.object({ clientSecret: z.string() }).parse(JSON.parse(readFileSync(file, "utf8")));
  const first = connect(name, "--credentials", file);
  await isServed(name);

  const next = join(folder, `${name}-next.json`);
  const added = await stack.cli("connector", "secret", "add", TENANT, name, "--label", "next", "--out", next, "--json");
  expect(added.code, added.stderr).toBe(0);
  const listed = await stack.cli("connector", "secret", "list", TENANT, name, "--json");
  const ids = listed.stdout
    .trim()
    .split("\n")
    .map((line) => z.object({ id: z.string(), label: z.string() }).parse(JSON.parse(line)));
  expect(ids.map(({ label }) => label)).toEqual(["secret", "next"]);
  expect(`${listed.stdout}${added.stdout}`).not.toContain(clientSecret);
  expect(await served(name)).toBe(true);

  const id = await idOf(name);
  await stack.api.delete(`/connectors/${id}/secrets/${ids[0]?.id ?? ""}`, started);
  await endsAtOnce(name);
  expect((await form({ client_id: `${TENANT}/${name}`, client_secret: clientSecret })).status).toBe(401);
  await stop(first.child);
  connect(name, "--credentials", next);
  await isServed(name);
  await until("the list to say who is online and since when", async () => {
    const [one] = (await stack.api.list(`/connectors?tenant=${TENANT}&q=${name}`, connector)).filter(
      (c) => c.name === name,
    );
    return one?.state === "online" && one.instances === 1 && one.lastLoginAt !== null && one.credentials.secrets === 1;
  });
  expect((await remove(name)).code).toBe(0);
  await endsAtOnce(name);
});

test("a second key goes beside the first one; the removed one ends its sockets at once, and they are on record (R06, P05)", async () => {
  const name = unique();
  const file = await create(name);
  const { keyId } = z.object({ keyId: z.string() }).parse(JSON.parse(readFileSync(file, "utf8")));
  const first = connect(name, "--credentials", file);
  await isServed(name);

  const next = join(folder, `${name}-next.json`);
  const added = await stack.cli("connector", "key", "add", TENANT, name, "--out", next, "--json");
  expect(added.code, added.stderr).toBe(0);
  const { kid } = z.object({ kid: z.string() }).parse(JSON.parse(added.stdout));
  const listed = await stack.cli("connector", "key", "list", TENANT, name);
  expect(listed.stdout).toMatch(new RegExp(`\\n${keyId} +Ed25519 .*\\n${kid} +Ed25519 `));
  const again = await stack.cli("connector", "key", "add", TENANT, name, "--out", next);
  expect([again.code, again.stderr]).toEqual([3, expect.stringContaining("is there already")]);

  expect((await stack.cli("connector", "key", "remove", TENANT, name, keyId)).code).toBe(0);
  await endsAtOnce(name);
  await stop(first.child);
  connect(name, "--credentials", next);
  await isServed(name);
  await until("the record of both", async () => {
    const { stdout } = await stack.cli("connector", "sessions", TENANT, name);
    return / online/.test(stdout) && /Z +\d{4}-.*Z/.test(stdout);
  });
  expect((await remove(name)).code).toBe(0);
});

test("wrong credentials get no token and no hint; the connector says so and does not go on (R06, H71)", async () => {
  const name = unique();
  const file = await create(name, "--secret");
  const answers = await Promise.all([
    form({ client_id: TENANT, client_secret: "wrong".repeat(9) }),
    form({ client_id: `${TENANT}/nobody`, client_secret: "wrong".repeat(9) }),
    form({ client_id: "nobody", client_secret: "wrong".repeat(9) }),
  ]);
  expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
  expect(answers[0]?.headers["causeway-error"]).toBe("unauthorized");
  const wrong = join(folder, "wrong-secret");
  writeFileSync(wrong, "wrong".repeat(9), { mode: 0o600 });
  const args = ["--url", stack.relayUrl, "--tenant", TENANT, "--connector", name, "--secret-file", wrong];
  const { output } = connect(name, ...args);
  await until("the connector to say why", () => /credential|secret|unauthorized|refused/i.test(output()));
  expect(output()).not.toContain("wrongwrong");
  expect((await stack.api.list(`/connectors?tenant=${TENANT}&q=${name}`, connector))[0]?.state).toBe("offline");
  expect(readFileSync(file, "utf8")).toContain("clientSecret");
  await remove(name);
});

test("the relay tells where everything is (P04)", async () => {
  const document = (await stack.request("relay", "/.well-known/relayserver-configuration")).json();
  expect(document).toMatchObject({
    issuer: stack.relayUrl,
    token_endpoint: `${stack.relayUrl}/token`,
    pairing_endpoint: `${stack.relayUrl}/pair`,
    connect_endpoints: { a: `${stack.relayUrl.replace("http", "ws")}/connect/a` },
  });
});

test("a locked connector is gone at once and back when it is unlocked; one that is kicked comes back by itself (H83, P23)", async () => {
  const name = unique();
  const file = await create(name);
  const before = connect(name, "--credentials", file);
  await isServed(name);
  const kicked = await stack.cli("connector", "kick", TENANT, name, "--json");
  expect(JSON.parse(kicked.stdout)).toEqual({ ended: 2 });
  await isServed(name);
  const id = await idOf(name);
  await stack.api.patch(`/connectors/${id}`, { disabled: true }, started);
  await endsAtOnce(name);
  await stack.api.patch(`/connectors/${id}`, { disabled: false }, started);
  // The same process: it was never ended, and asks again by itself.
  await isServed(name);
  expect(before.child.exitCode).toBeNull();
  await stack.api.patch(`/connectors/${id}`, { readOnly: true }, started);
  await until("changes to be refused", async () => (await ask(name, { method: "POST", body: "x" })).status === 403, {
    timeoutMs: AT_ONCE_MS,
  });
  expect(await served(name)).toBe(true);
  // Removal of the key that it dialled with.
  const { items } = await stack.api.get(
    `/connectors/${id}/keys`,
    z.object({ items: z.array(z.object({ kid: z.string() })) }),
  );
  await stack.api.delete(`/connectors/${id}/keys/${items[0]?.kid ?? ""}`, started);
  await endsAtOnce(name);
  expect((await stack.cli("connector", "delete", TENANT, name)).code).toBe(3);
  expect((await remove(name)).code).toBe(0);
});

test("settings of the tenant reach live connectors and requests at once; the relay is switched off and, for the same process, on again (P16, P21, P23)", async () => {
  const name = unique();
  const file = await create(name);
  const first = connect(name, "--credentials", file);
  await isServed(name);
  try {
    const set = await stack.cli("tenant", "relay", "set", TENANT, "bodyBytes=10,keepAliveMs=5000", "--json");
    expect(set.code, set.stderr).toBe(0);
    expect(JSON.parse(set.stdout)).toMatchObject({ limits: { bodyBytes: 10 }, keepAliveMs: 5000 });
    const post = async () => (await ask(name, { method: "POST", body: "x".repeat(50) })).status;
    await until("the limit to count", async () => (await post()) === 413, { timeoutMs: AT_ONCE_MS });
    expect((await stack.cli("tenant", "relay", "set", TENANT, "bodyBytes=none")).code).toBe(0);
    await until("the limit to be gone", async () => (await post()) === 200, { timeoutMs: AT_ONCE_MS });

    expect((await stack.cli("tenant", "relay", "disable", TENANT)).code).toBe(0);
    await endsAtOnce(name);
    expect((await form({ client_id: TENANT, client_secret: "x" })).status).toBe(401);
  } finally {
    expect((await stack.cli("tenant", "relay", "enable", TENANT, "--wait")).code).toBe(0);
  }
  await isServed(name);
  expect(first.child.exitCode).toBeNull();
  await remove(name);
});

test("a configuration is pushed to a live connector, which says what it made of it (P21)", async () => {
  const name = unique();
  const file = await create(name);
  connect(name, "--credentials", file);
  await isServed(name);
  const pushed = `${name}p`;
  const json = join(folder, `${name}-config.json`);
  writeFileSync(json, JSON.stringify({ [pushed]: { url: siteUrl } }));
  const answer = await stack.cli("connector", "config", "push", TENANT, name, json, "--wait");
  expect(answer.code, answer.stderr).toBe(0);
  await isServed(pushed);
  const instance = z.looseObject({ applied: z.boolean(), reason: z.string().nullable() });
  const shown = async () => {
    const { stdout } = await stack.cli("connector", "config", "show", TENANT, name, "--json");
    return z.object({ revision: z.number(), instances: z.array(instance) }).parse(JSON.parse(stdout));
  };
  await until("both sockets to have taken it", async () => {
    const { revision, instances } = await shown();
    return revision === 1 && instances.length === 2 && instances.every(({ applied }) => applied);
  });
  writeFileSync(json, JSON.stringify({ [pushed]: { url: siteUrl, colour: "blue" } }));
  expect((await stack.cli("connector", "config", "push", TENANT, name, json, "--wait")).code).toBe(0);
  await until("both sockets to say why they refuse it", async () => {
    const { revision, instances } = await shown();
    return revision === 2 && instances.every(({ applied, reason }) => !applied && reason !== null);
  });
  expect(await served(pushed)).toBe(true);
  await remove(name);
});

test("an unknown connector is let in by a member's word, while the window is open (H85)", async () => {
  const name = unique();
  const file = join(folder, `${name}.json`);
  const args = ["--pair", "--credentials", file, "--url", stack.relayUrl, "--tenant", TENANT, "--connector", name];
  const tooEarly = connect(name, ...args);
  await until("the connector to be refused", () => /not let in|404/.test(tooEarly.output()));
  await stop(tooEarly.child);

  expect((await stack.cli("pairing", "open", TENANT, "--minutes", "5")).code).toBe(0);
  const { output } = connect(name, ...args);
  const request = await until("the request to be listed", async () => {
    const { stdout } = await stack.cli("pairing", "list", TENANT, "--json");
    const lines = stdout.trim().split("\n").filter(Boolean);
    return lines
      .map((line) => z.object({ id: z.string(), connector: z.string() }).parse(JSON.parse(line)))
      .find((one) => one.connector === name);
  });
  expect(await served(name), output()).toBe(false);
  const accepted = await stack.cli("pairing", "accept", TENANT, request.id, "--wait");
  expect(accepted.code, accepted.stderr).toBe(0);
  await isServed(name);
  expect((await stack.cli("pairing", "open", TENANT, "--minutes", "0")).code).toBe(0);
  expect((await stack.cli("pairing", "list", TENANT, "--json")).stdout).toBe("");
  await remove(name);
});

test("tokens of an outside OpenID issuer prove a connector, until it is not trusted any more (P05)", async () => {
  const issuer: TestIssuer = await startIssuer();
  try {
    const name = unique();
    const list = join(folder, "issuers.json");
    writeFileSync(list, JSON.stringify([{ issuer: issuer.url, audience: issuer.audience }]));
    const trusted = await stack.cli("tenant", "relay", "issuers", TENANT, "--set", list, "--wait");
    expect(trusted.code, trusted.stderr).toBe(0);
    const made = await stack.api.post(
      "/connectors",
      { tenant: TENANT, name, issuerSubject: issuer.clientId },
      z.object({ operation, connector }),
    );
    expect(made.connector.credentials.issuerSubject).toBe(issuer.clientId);
    const secret = join(folder, "issuer-secret");
    writeFileSync(secret, issuer.clientSecret, { mode: 0o600 });
    const site = ["--url", stack.relayUrl, "--tenant", TENANT, "--connector", name];
    const client = ["--issuer", issuer.url, "--client-id", issuer.clientId, "--secret-file", secret];
    const { output } = connect(name, ...site, ...client, "--audience", issuer.audience);
    await until(`the connector to serve: ${output()}`, () => served(name));
    // The token can be changed for one of the relay's own, too.
    const exchanged = await form({
      client_id: `${TENANT}/${name}`,
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      client_assertion: await issuer.token(),
    });
    expect(exchanged.status, exchanged.text).toBe(200);
    writeFileSync(list, "[]");
    expect((await stack.cli("tenant", "relay", "issuers", TENANT, "--set", list)).code).toBe(0);
    await endsAtOnce(name);
    await remove(name);
  } finally {
    await issuer.stop();
  }
});

test("flags that make no sense are usage errors", async () => {
  const env = { CAUSEWAY_STATE_DIR: stack.stateDir };
  for (const args of [
    ["tenant", "relay", "set", TENANT, "colour=blue"],
    ["tenant", "relay", "set", TENANT, "bodyBytes=-1"],
    ["connector", "set", TENANT, "plant-1", "--expires", "soon"],
  ])
    expect((await runCli(args, env)).code, args.join(" ")).not.toBe(0);
});
