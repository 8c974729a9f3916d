import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { type TestStack, sharedStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

let stack: TestStack;
beforeAll(async () => {
  stack = await sharedStack();
});

async function causeway(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await stack.cli(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}
const code = async (path: string): Promise<string | number> => {
  const { status, headers } = await stack.request("bachmanity", path);
  return headers["causeway-error"]?.toString() ?? status;
};

test("a tenant's service is switched off and on without losing it, and the others go on (H105)", async () => {
  await causeway("tenant", "create", "bachmanity", "--wait");
  const settled = (path: string, answer: string | number) =>
    until(`${path} to answer ${answer}`, async () => (await code(path)) === answer, { timeoutMs: 10_000 });
  await settled("/manager", 200);
  const stopped = await causeway("tenant", "services", "bachmanity", "--stop", "manager", "--wait");
  expect(stopped).toMatch(/manager +default +process +http +EXITED/);
  expect(stopped).toMatch(/app +default +process +http +RUNNING/);
  await settled("/manager", "not-available");
  expect(await code("/app")).toBe(200);
  const page = await stack.request("bachmanity", "/manager/deep?x=1", { headers: { accept: "text/html" } });
  expect([page.status, page.headers["content-type"]]).toEqual([503, expect.stringContaining("text/html")]);

  expect(await causeway("tenant", "services", "bachmanity", "--start", "manager", "--wait")).toMatch(
    /manager .* RUNNING/,
  );
  await settled("/manager", 200);
  // A node refuses what it has no command for: the change is taken back, and people are not sent to retry what can't be.
  const entry = { driver: { kind: "process", command: "no-such" }, healthPath: null };
  await stack.api.put("/clusters/default/services/no-such", entry, z.unknown());
  const refused = await stack.cli("tenant", "services", "bachmanity", "--add", "no-such", "--wait");
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('no command "no-such"');
  expect(refused.stderr).toMatch(/tenant-change-undo op_\w+ came after it and takes back what it did/);
  const [, failed = ""] = /operation (op_\w+) failed/.exec(refused.stderr) ?? [];
  expect(await causeway("operation", "show", failed)).toMatch(/^push +failed +\d+\.\d\d s/m);
  await stack.api.delete("/clusters/default/services/no-such", z.unknown());
  const two = await stack.cli("tenant", "services", "bachmanity", "--stop", "app", "--start", "app");
  expect([two.code, two.stderr]).toEqual([2, expect.stringContaining("--stop or --start")]);
  await causeway("tenant", "delete", "bachmanity", "--force", "--wait");
});
