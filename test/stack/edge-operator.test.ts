import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { type TestStack, sharedStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

// What docs/edge.md tells an operator, word for word: its files and commands are run against a whole stack, and the edge is asked.
const section = /^## Routes and access\n([^]*?)^### /m.exec(readFileSync("docs/edge.md", "utf8"))?.[1] ?? "";
const files = new Map(
  [...section.matchAll(/`([\w.]+\.json)`:\n\n```json\n([^]*?)```/g)].map(([, name = "", text = ""]) => [name, text]),
);
const commands = [...section.matchAll(/^npx causeway (.*)$/gm)].map(([, command = ""]) => command);
const EFFECTIVE = { timeoutMs: 10_000, intervalMs: 100 };

let stack: TestStack;
let folder: string;
beforeAll(async () => {
  stack = await sharedStack();
  folder = mkdtempSync(join(tmpdir(), "causeway-operator-"));
  for (const [name, text] of files) writeFileSync(join(folder, name), text);
  writeFileSync(join(folder, "password.txt"), "open sesame\n");
  const { code, stderr } = await stack.cli("tenant", "create", "shop", "--wait");
  expect(code, stderr).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the documented command that begins so; its answer. */
async function documented(start: string, ...more: string[]): Promise<string> {
  const command = commands.find((each) => each.startsWith(start));
  if (command === undefined) throw new Error(`docs/edge.md has no command "${start}"`);
  const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain = ""]) => quoted ?? plain);
  const placed = args.map((arg) => (/^\w+\.(?:json|txt)$/.test(arg) ? join(folder, arg) : arg));
  const { code, stdout, stderr } = await stack.cli(...placed, ...more);
  expect(code, stderr).toBe(0);
  return stdout;
}

const ask = async (path: string, headers: Record<string, string> = {}, method = "GET") => {
  const answer = await stack.request("shop", path, { headers, method });
  return { ...answer, code: answer.headers["causeway-error"]?.toString() ?? answer.status };
};

test("routes are set as documented and lead where they say", async () => {
  await documented("tenant routes shop");
  await until("the new routes", async () => (await ask("/robots.txt")).code === 200, EFFECTIVE);
  expect((await ask("/robots.txt")).text).toBe("User-agent: *\nDisallow: /\n");
  expect((await ask("/shop/cart?a=1")).json()).toMatchObject({ service: "app", tenant: "shop", path: "/cart?a=1" });
  const moved = await ask("/old/cart?a=1");
  expect([moved.status, moved.headers.location]).toEqual([
    308,
    expect.stringMatching(/^http:\/\/shop\..*\/shop\/cart\?a=1$/),
  ]);
  expect([(await ask("/app")).code, (await ask("/manager")).code, (await ask("/plant")).code]).toEqual(
    Array.from({ length: 3 }, () => "unauthorized"),
  );
});

test("a service token and a password open what they should", async () => {
  const token = (await documented("tenant token create shop")).trim();
  expect(token).toMatch(/^cst_/);
  const bearer = { authorization: `Bearer ${token}` };
  await until("the token to be known", async () => (await ask("/app", bearer)).code === 200, EFFECTIVE);
  const said = z.object({ headers: z.record(z.string(), z.string()) }).parse((await ask("/app", bearer)).json());
  expect(said.headers["causeway-service-token"]).toMatch(/^svc_/);
  expect(JSON.stringify(said)).not.toContain(token);
  expect((await ask("/manager", bearer)).code).toBe("forbidden");
  expect(await documented("tenant token list shop")).toContain("/app /plant");
  expect(await documented("tenant member list shop", "--json")).toContain('"items"');
  await documented("tenant password shop");
  const typed = {
    origin: `http://shop.${stack.baseDomain}:${stack.edgePort}`,
    "content-type": "application/x-www-form-urlencoded",
  };
  const post = () =>
    stack.request("shop", "/.causeway/password", { method: "POST", headers: typed, body: "password=open+sesame" });
  const opened = await until(
    "the password to be known",
    async () => {
      const answer = await post();
      return answer.status === 303 ? answer : null;
    },
    EFFECTIVE,
  );
  const [cookie = ""] = opened.headers["set-cookie"]?.[0]?.split(";") ?? [];
  expect((await ask("/manager", { cookie })).code).toBe(200);
});

test("the policy and the maintenance page hold as documented (H17, D2)", async () => {
  await documented("tenant policy shop --set");
  const origin = "https://www.example.com";
  const allowed = async () => (await ask("/shop", { origin })).headers["access-control-allow-origin"];
  await until("the policy", async () => (await allowed()) === origin, EFFECTIVE);
  expect((await ask("/shop")).headers["x-content-type-options"]).toBe("nosniff");
  expect(JSON.parse(await documented("tenant policy shop --json"))).toMatchObject({
    password: true,
    securityHeaders: true,
  });
  await documented("tenant maintenance shop on");
  await until("the page", async () => (await ask("/shop")).code === "maintenance", EFFECTIVE);
  expect((await ask("/shop", { accept: "text/html" })).text).toContain("Back at noon.");
  await documented("tenant maintenance shop off");
  await until("the tenant to be back", async () => (await ask("/shop")).code === 200, EFFECTIVE);
});

test("nothing in the section is left untried", () => {
  expect([...files.keys()]).toEqual(["routes.json", "policy.json"]);
  expect(commands).toHaveLength(9);
});
