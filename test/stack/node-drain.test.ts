import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startLoad } from "../support/load.ts";
import { type TestStack, startStack, stopStack } from "../support/stack.ts";

// A stack of its own: the demo's tenants leave their node.
const dir = mkdtempSync(join(tmpdir(), "causeway-drain-"));
let stack: TestStack;
beforeAll(async () => {
  stack = await startStack(dir);
}, 180_000);
afterAll(async () => {
  await stopStack(dir);
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

async function causeway(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await stack.cli(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

test(
  "a node is emptied while its tenants are served, gets no new ones, and is taken back (D3)",
  { timeout: 180_000 },
  async () => {
    const ask = async () => {
      const { status, headers, text } = await stack.request("acme", "/app");
      return { status, headers, body: text };
    };
    expect(JSON.parse((await ask()).body)).toMatchObject({ tenant: "acme", node: "walter-white" });
    const load = startLoad(ask, (body) => body.includes('"acme"'), 2);
    const drained = await causeway("nodes", "drain", "walter-white", "--drain", "1", "--wait");
    expect(drained).toMatch(/walter-white +draining +0 tenants/);
    const { requests, failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(requests).toBeGreaterThan(50);
    expect(JSON.parse((await ask()).body)).toMatchObject({ tenant: "acme", node: "hank-schrader" });

    expect(await causeway("tenant", "create", "jared", "--wait")).toContain("on hank-schrader");
    const refused = await stack.cli("tenant", "move", "jared", "--node", "walter-white");
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('no active node "walter-white"')]);
    const full = await stack.cli("nodes", "drain", "hank-schrader");
    expect([full.code, full.stderr]).toEqual([1, expect.stringContaining("0 places left")]);

    expect(await causeway("nodes", "activate", "walter-white")).toMatch(/walter-white +active/);
    expect(await causeway("nodes", "list")).toMatch(/walter-white +\S+ +node +active +online +0\/\d+/);
    expect(await causeway("tenant", "move", "acme", "--node", "walter-white", "--drain", "0", "--wait")).toContain(
      "on walter-white",
    );
    expect(JSON.parse((await ask()).body)).toMatchObject({ node: "walter-white" });
  },
);
