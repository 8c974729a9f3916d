import { type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { identityClaims } from "../../src/protocol/identity.ts";
import { operation } from "../../src/cli/api/types.ts";
import { waitForOperation } from "../../src/cli/api/wait.ts";
import { spawnCli } from "../support/cli.ts";
import { endChild } from "../support/children.ts";
import { type JobTarget, type SeenCall, startJobTarget } from "../support/job-target.ts";
import { sharedStack, type TestStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

// Jobs in a whole stack: console, queue, provisioner, edge, lanes and connector to a target, Envoy to a service.
const TENANT = "hendricks";

let stack: TestStack;
let folder: string;
let site: JobTarget;
let connector: ChildProcess | null = null;

beforeAll(async () => {
  [stack, site] = await Promise.all([sharedStack(), startJobTarget()]);
  folder = mkdtempSync(join(tmpdir(), "causeway-jobs-"));
  const credentials = join(folder, "erp.json");
  await causeway("tenant", "create", TENANT, "--wait");
  await causeway("connector", "create", TENANT, "erp", "--out", credentials);
  connector = spawnCli(["connect", "--credentials", credentials, "--target", `erp=${site.url}`]);
});
afterAll(async () => {
  if (connector !== null) await endChild(connector);
  await site.close();
  await causeway("tenant", "delete", TENANT, "--force", "--wait");
  rmSync(folder, { recursive: true, force: true });
});

async function causeway(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await stack.cli(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

const started = z.object({ operation, signingSecret: z.string().optional() });
const at = (path: string): string => `/tenants/${TENANT}${path}`;

/** A job that its worker knows of. */
async function create(job: object): Promise<z.infer<typeof started>> {
  const made = await stack.api.post(at("/jobs"), { schedule: { kind: "manual" }, ...job }, started);
  await waitForOperation(stack.api, made.operation.id, () => {});
  return made;
}

const runView = z.looseObject({
  state: z.string(),
  items: z.number(),
  records: z.number(),
  reason: z.string().nullable(),
});

/** Runs it now; the record of its end. */
async function run(job: string): Promise<z.infer<typeof runView>> {
  const { runId } = await stack.api.post(at(`/jobs/${job}/run`), {}, z.object({ runId: z.string() }));
  return await endOf(runId);
}

async function endOf(runId: string): Promise<z.infer<typeof runView>> {
  const path = at(`/job-runs/${runId}`);
  const ended = ["succeeded", "failed", "stopped"];
  return await until(
    `the end of ${runId}`,
    async () => {
      const found = await stack.api.find(path, runView);
      return found !== null && ended.includes(found.state) ? found : null;
    },
    { timeoutMs: 30_000 },
  );
}

const callSchema = z.array(z.custom<SeenCall>());
const seen = async (key: string): Promise<SeenCall[]> =>
  callSchema.parse(await (await fetch(`${site.url}/seen/${key}`)).json());

test("a job calls its target through the relay, item after item, and says who it is (G20, G26)", async () => {
  await fetch(`${site.url}/script/orders`, {
    method: "PUT",
    body: JSON.stringify([{ headers: { "job-next": "2", "job-count": "10" } }, { headers: { "job-count": "3" } }]),
  });
  const file = join(folder, "orders.json");
  const action = { kind: "target", target: "erp", path: "/c/orders?page={page}", body: '{"since":"{since}"}' };
  writeFileSync(file, JSON.stringify({ name: "orders", schedule: { kind: "manual" }, action }));
  const made = await causeway("job", "create", TENANT, "--file", file, "--wait");
  expect(made).toMatch(/orders +0 +by hand +target erp \/c\/orders\?page=\{page\} +on/);
  await until("the connector", async () => (await stack.request(`erp--${TENANT}`, "/seen/nothing")).status === 200, {
    timeoutMs: 30_000,
  });
  const runId = (await causeway("job", "run", TENANT, "orders")).trim();
  expect(await endOf(runId)).toMatchObject({ state: "succeeded", items: 2, records: 13 });
  const calls = await seen("orders");
  expect(calls.map(({ path, body }) => [path, body])).toEqual([
    ["/c/orders?page=", '{"since":""}'],
    ["/c/orders?page=2", '{"since":""}'],
  ]);
  const headers = calls[0]?.headers ?? {};
  expect(headers).toMatchObject({ "content-type": "application/json", "job-item": "1" });
  expect(headers["causeway-job"]).toBe(headers["job-id"]);
  const [, claims = ""] = (headers["causeway-identity"] ?? "").split(".");
  expect(identityClaims.parse(JSON.parse(Buffer.from(claims, "base64url").toString()))).toMatchObject({
    kind: "job",
    sub: headers["job-id"],
    tenant: TENANT,
  });
  expect(await causeway("job", "logs", TENANT, "--run", runId)).toContain("run succeeded: items 2, records 13");
  expect(await causeway("job", "runs", TENANT, "--job", "orders")).toMatch(/orders +manual +succeeded/);
  expect(await causeway("job", "list", TENANT)).toMatch(/orders .* on +20\d\d-/);
});

test("a job calls a service on the tenant's node, and nothing that does not lead to it", async () => {
  const action = { kind: "service", service: "app", path: "/app/nightly" };
  await create({ name: "tidy", action });
  expect(await run("tidy")).toMatchObject({ state: "succeeded", items: 1 });
  const wrong = { ...action, path: "/manager" };
  await create({ name: "astray", action: wrong });
  const failed = await run("astray");
  expect(failed).toMatchObject({ state: "failed", items: 0 });
  expect(failed.reason).toContain("404 no-route: No route of the tenant leads from this path to its service app.");
});

test("a webhook to this machine is refused, unless its operator allows it", async () => {
  const action = { kind: "webhook", url: `${site.url}/c/inside` };
  const made = await create({ name: "inside", schedule: { kind: "interval", everySeconds: 1 }, action });
  expect(made.signingSecret).toMatch(/^whsec_/);
  // By itself, within the bound for changes.
  const failed = await until(
    "its first run",
    async () => {
      const { items } = await stack.api.get(at("/job-runs?job=inside"), z.object({ items: z.array(runView) }));
      return items.find(({ state }) => state === "failed");
    },
    { timeoutMs: 30_000 },
  );
  expect(failed.reason).toContain("the address may not be called");
  await causeway("job", "disable", TENANT, "inside", "--wait");
  expect(await seen("inside")).toEqual([]);
  expect(await causeway("job", "workers", TENANT, "--json")).toContain('"next":[]');
});
