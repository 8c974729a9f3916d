import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { startLoad } from "../support/load.ts";
import { type TestStack, sharedStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

const SLUG = "jared";
const CONNECTIONS = 4;

let stack: TestStack;
beforeAll(async () => {
  stack = await sharedStack();
});

async function causeway(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await stack.cli(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

const seen = z.object({ login: z.string(), role: z.string(), documents: z.number() });
const ask = async () => {
  const { status, text } = await stack.request(SLUG, "/app/database", { timeoutMs: 30_000 });
  return { status, headers: {}, body: text };
};

/** What the node has put into a file for this login. */
function databaseUrlOf(login: string): string | undefined {
  const dir = join(stack.stateDir, "nodes");
  const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith("/DATABASE_URL"),
  );
  return files.map((file) => readFileSync(join(dir, file), "utf8")).find((url) => new URL(url).username === login);
}

async function sqlStateOf(url: string): Promise<string> {
  const sql = postgres(url, { max: 1, connect_timeout: 10 });
  try {
    await sql`select 1`;
    return "taken";
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  } finally {
    await sql.end();
  }
}

test("a rotated login of the database reaches the services at the node without a failed query, and the old one is refused (G11)", async () => {
  await causeway("tenant", "create", SLUG, "--wait");
  await until("the service to see its database", async () => (await ask()).status === 200, { timeoutMs: 30_000 });
  const logins = new Set<string>();
  const roles = new Set<string>();
  const isGood = (body: string): boolean => {
    const { login, role } = seen.parse(JSON.parse(body));
    logins.add(login);
    roles.add(role);
    return true;
  };
  const load = startLoad(ask, isGood, CONNECTIONS);
  const current = async () => seen.parse(JSON.parse((await ask()).body)).login;
  try {
    const old = await current();
    const oldUrl = databaseUrlOf(old) ?? "";
    expect(await sqlStateOf(oldUrl)).toBe("taken");
    await causeway("tenant", "rotate-credentials", SLUG, "--wait");
    const fresh = await current();
    expect(fresh).not.toBe(old);
    // No password fits it any more.
    expect(await sqlStateOf(oldUrl)).toMatch(/^28/);
    expect(await sqlStateOf(databaseUrlOf(fresh) ?? "")).toBe("taken");
  } finally {
    const { requests, failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(requests).toBeGreaterThan(CONNECTIONS);
  }
  expect(logins.size).toBe(2);
  // Whichever login it is, what it makes is the tenant's.
  expect(roles.size).toBe(1);
  await causeway("tenant", "delete", SLUG, "--force", "--wait");
});
