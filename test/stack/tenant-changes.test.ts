import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import postgres from "postgres";
import { WebSocket } from "ws";
import { z } from "zod";
import { localhostLookup } from "../../src/shared/localhost-lookup.node.ts";
import { type TestStack, sharedStack } from "../support/stack.ts";
import { until } from "../support/until.ts";
import { createBrowser, hiddenField } from "../system/edge/browser.ts";

/** The promise of a change's effect everywhere, counted from the API's answer. */
const EFFECTIVE = { timeoutMs: 10_000, intervalMs: 100 };
const HTML = { accept: "text/html" };

let stack: TestStack;
beforeAll(async () => {
  stack = await sharedStack();
});

async function causeway(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await stack.cli(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

/** A tenant of this file alone, seen active at the edge, so that its record is cached there. */
async function makeTenant(slug: string): Promise<void> {
  await causeway("tenant", "create", slug, "--wait");
  expect((await stack.request(slug, "/app")).json()).toMatchObject({ tenant: slug });
}

const code = async (host: string, path = "/app"): Promise<string | number> => {
  const { status, headers } = await stack.request(host, path);
  return headers["causeway-error"]?.toString() ?? status;
};

test("a suspended tenant says so within 10 s on every host of its, and is back after resume (D2, H08)", async () => {
  await makeTenant("hooli");
  const addresses: [string, string][] = [
    ["hooli", "/app"],
    ["hooli", "/nothing-here"],
    ["demo--hooli", "/"],
    ["relay", "/relay/hooli/demo/"],
  ];
  expect(await code("demo--hooli", "/")).toBe("no-connector");
  const socket = new WebSocket(`ws://hooli.${stack.baseDomain}:${stack.edgePort}/app/ws`, {
    lookup: localhostLookup,
  });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  let closedWith: number | null = null;
  socket.once("close", (closeCode) => (closedWith = closeCode)).on("error", () => undefined);
  await causeway("tenant", "suspend", "hooli", "--wait");
  // Of a public route: what it led to does not run any more (E13).
  await until("the open WebSocket to end", async () => closedWith === 1001, EFFECTIVE);
  await Promise.all(
    addresses.map(([host, path]) =>
      until(`${host}${path} to be suspended`, async () => (await code(host, path)) === "tenant-suspended", EFFECTIVE),
    ),
  );
  const page = await stack.request("hooli", "/app", { headers: HTML });
  expect([page.status, page.headers["content-type"]]).toEqual([503, expect.stringContaining("text/html")]);
  expect(page.text).toContain("suspended");
  const again = await stack.cli("tenant", "suspend", "hooli");
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("conflict")]);
  expect(await code("acme")).toBe(200);

  await causeway("tenant", "resume", "hooli", "--wait");
  await until("hooli to be back", async () => (await code("hooli")) === 200, EFFECTIVE);
  expect(await code("demo--hooli", "/")).toBe("no-connector");
});

test("routes change as a whole: new ones answer, old ones are gone, the rest goes on (H08)", async () => {
  await makeTenant("raviga");
  const dir = mkdtempSync(join(tmpdir(), "causeway-routes-"));
  try {
    const file = join(dir, "routes.json");
    const service = (prefix: string, access = "public") => ({
      prefix,
      access,
      to: { kind: "service", service: "app" },
    });
    const set = async (items: unknown) => {
      writeFileSync(file, JSON.stringify(items));
      return await stack.cli("tenant", "routes", "raviga", "--set", file, "--wait");
    };
    const listed = JSON.parse(await causeway("tenant", "routes", "raviga", "--json"));
    expect(listed.items.map(({ prefix }: { prefix: string }) => prefix)).toContain("/connectors");

    const changed = await set([service("/app"), service("/app/inner", "member"), service("/brand-new")]);
    expect(changed.code, changed.stderr).toBe(0);
    expect(changed.stderr).toMatch(/✓ push[^]*✓ publish/);
    expect(changed.stdout).toMatch(/\/app\/inner +member +service app/);
    const seen = async () =>
      Promise.all(["/app", "/app/inner", "/brand-new", "/connectors"].map((path) => code("raviga", path)));
    await until("the new routes", async () => String(await seen()) === "200,unauthorized,200,no-route", EFFECTIVE);
    expect((await stack.request("raviga", "/brand-new/x")).json()).toMatchObject({ tenant: "raviga", service: "app" });

    // What --json prints can be set again.
    expect((await set(JSON.parse(await causeway("tenant", "routes", "raviga", "--json")))).code).toBe(0);
    const refused = await set([service("/.causeway/callback")]);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("belongs to the platform")]);
    expect(await seen()).toEqual([200, "unauthorized", 200, "no-route"]);
    expect(await code("globex", "/connectors")).toBe(200);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

const PASSWORD = "correct horse battery";
const member = (email: string) => ({ email, password: PASSWORD, role: "member" });

/** Makes the person a member and signs them in at a protected page; their browser, and the account's id. */
async function signedIn(slug: string, email: string) {
  const { accountId } = await stack.api.post(
    `/tenants/${slug}/members`,
    member(email),
    z.object({ accountId: z.string() }),
  );
  const browser = createBrowser(stack.edgePort);
  const page = `http://${slug}.${stack.baseDomain}:${stack.edgePort}/private/x`;
  const { answer, urls } = await browser.follow(page);
  const posted = await browser.visit(new URL("/sign-in", urls.at(-1)).href, {
    email,
    password: PASSWORD,
    next: hiddenField(answer.body, "next"),
  });
  const landed = await browser.follow(new URL(posted.headers.location ?? "", urls.at(-1)).href);
  expect(landed.answer.status).toBe(200);
  /** Of the page, not followed: 200, or 303 to sign-in. */
  return { accountId, status: async () => (await browser.visit(page)).status };
}

test("sessions end within 10 s: one person's, then everybody's; other tenants' go on (design 4)", async () => {
  await makeTenant("nucleus");
  const ann = await signedIn("nucleus", "ann@nucleus.example");
  const bob = await signedIn("nucleus", "bob@nucleus.example");
  const eve = await signedIn("acme", "eve@acme.example");
  const revoke = (body: object) => stack.api.post("/tenants/nucleus/sessions/revoke", body, z.looseObject({}));

  await revoke({ accountId: ann.accountId });
  await until("Ann to be out", async () => (await ann.status()) === 303, EFFECTIVE);
  expect(await bob.status()).toBe(200);
  await revoke({});
  await until("Bob to be out", async () => (await bob.status()) === 303, EFFECTIVE);
  expect(await eve.status()).toBe(200);
});

test("a deleted tenant is unknown, nothing of it stays, others are untouched, and its name is free (H08, H56)", async () => {
  await makeTenant("aviato");
  const { accountId } = await signedIn("aviato", "erlich@aviato.example");
  await stack.api.post("/tenants/globex/members", member("erlich@aviato.example"), z.looseObject({}));
  const { id } = JSON.parse(await causeway("tenant", "show", "aviato", "--json"));

  const asked = await stack.cli("tenant", "delete", "aviato", "--wait");
  expect([asked.code, asked.stdout]).toEqual([3, ""]);
  expect(await code("aviato")).toBe(200);
  await causeway("tenant", "delete", "aviato", "--force", "--wait");
  await until("aviato to be unknown", async () => (await code("aviato")) === "unknown-host", EFFECTIVE);
  const page = await stack.request("aviato", "/app", { headers: HTML });
  expect([page.status, page.text.includes("suspended")]).toEqual([404, false]);
  expect(await code("demo--aviato", "/")).toBe("unknown-host");
  expect((await stack.cli("tenant", "show", "aviato")).stderr).toContain("not-found");

  const control = postgres(stack.databaseUrl, { max: 1, onnotice: () => {} });
  try {
    // Whatever table has a column for it; operations and audit events outlive it on purpose.
    const columns = await control<{ schema: string; table: string; column: string }[]>`
      select table_schema as schema, table_name as table, column_name as column from information_schema.columns
      where table_schema in ('control', 'portal') and column_name in ('tenant_id', 'organization_id', 'subject_id')
        and table_name not in ('operations', 'audit_events')`;
    expect(columns.length).toBeGreaterThan(8);
    for (const { schema, table, column } of columns)
      expect(
        await control`select 1 from ${control(`${schema}.${table}`)} where ${control(column)} = ${id}`,
        table,
      ).toEqual([]);
    expect(await control`select 1 from control.tenants where id = ${id}`).toEqual([]);
    expect(await control`select 1 from portal.organization where id = ${id}`).toEqual([]);
    expect(await control`select 1 from pg_roles where rolname = ${id}`).toEqual([]);
    const [person] = await control`select count(*)::int as n from portal.member where user_id = ${accountId}`;
    expect(person).toEqual({ n: 1 });
  } finally {
    await control.end();
  }
  const databases = await schemasWith(id);
  expect(databases).toEqual([]);

  expect([await code("acme"), await code("globex")]).toEqual([200, 200]);
  await makeTenant("aviato");
  const again = JSON.parse(await causeway("tenant", "show", "aviato", "--json"));
  expect(again.id).not.toBe(id);
});

/** Databases of the stack's server that have a schema of this name. */
async function schemasWith(name: string): Promise<string[]> {
  const found = [];
  const first = postgres(stack.databaseUrl, { max: 1, onnotice: () => {} });
  const names = await first<{ datname: string }[]>`select datname from pg_database where datallowconn`;
  await first.end();
  for (const { datname } of names) {
    const url = new URL(stack.databaseUrl);
    url.pathname = `/${datname}`;
    const sql = postgres(url.href, { max: 1, onnotice: () => {} });
    if ((await sql`select 1 from pg_namespace where nspname = ${name}`).length > 0) found.push(datname);
    await sql.end();
  }
  return found;
}
