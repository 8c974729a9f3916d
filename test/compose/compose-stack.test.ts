import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { projectName } from "../../src/cli/local/compose-files.ts";
import { wipeContainers } from "../../src/cli/local/compose.ts";
import { statePaths } from "../../src/cli/local/paths.ts";
import { listProcesses } from "../../src/cli/local/process-table.ts";
import { readSecrets } from "../../src/cli/local/secrets.ts";
import { runCli } from "../support/cli.ts";
import { type TestStack, startStack, stopStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

/** The Workers on this machine, everything behind them in containers. The folder's name has a space, as people's have. */
const folder = mkdtempSync(join(tmpdir(), "causeway compose-"));
const stateDir = join(folder, "state");
const project = projectName(stateDir);
let stack: TestStack;

beforeAll(async () => {
  stack = await startStack(stateDir, { flags: ["--upstream", "compose"] });
});
afterAll(async () => {
  await stopStack(stateDir);
  await wipeContainers(statePaths(stateDir));
  rmSync(folder, { recursive: true, force: true });
  expect([...idsOf("ps", "--all"), ...idsOf("volume", "ls")]).toEqual([]);
});

const docker = (...args: string[]) => execFileSync("docker", args, { encoding: "utf8" });
const idsOf = (...args: string[]) =>
  docker(...args, "--quiet", "--filter", `label=com.docker.compose.project=${project}`)
    .split("\n")
    .filter((line) => line !== "");

const inspected = z.array(
  z.object({
    Id: z.string(),
    RestartCount: z.number(),
    State: z.object({ StartedAt: z.string(), Running: z.boolean() }),
    Config: z.object({ User: z.string(), Labels: z.record(z.string(), z.string()) }),
    HostConfig: z.object({
      ReadonlyRootfs: z.boolean(),
      CapDrop: z.array(z.string()),
      SecurityOpt: z.array(z.string()),
    }),
  }),
);

/** The project's containers by service. */
function containers() {
  const all = inspected.parse(JSON.parse(docker("inspect", ...idsOf("ps", "--all"))));
  return new Map(all.map((one) => [one.Config.Labels["com.docker.compose.service"] ?? "", one]));
}

function container(service: string) {
  const found = containers().get(service);
  if (found === undefined) throw new Error(`there is no container ${service}`);
  return found;
}

/** The machine's pids of the tenants' services in a node's container. */
const servicePids = (node: string) =>
  docker("top", container(`agent-${node}`).Id, "-o", "pid,args")
    .split("\n")
    .filter((line) => line.includes("service.mjs"))
    .map((line) => Number.parseInt(line.trim(), 10));

test.each([
  ["acme", "walter-white", "globex"],
  ["globex", "hank-schrader", "acme"],
])("%s is served out of the container of %s alone", async (tenant, node, other) => {
  for (const service of ["app", "connectors", "manager"]) {
    const answer = await stack.request(tenant, `/${service}`);
    expect(answer.json()).toMatchObject({ service, tenant, node });
  }
  docker("pause", container(`agent-${node}`).Id);
  try {
    await expect(stack.request(tenant, "/app", { timeoutMs: 1_000 })).rejects.toThrow("no answer");
    expect((await stack.request(other, "/app")).status).toBe(200);
  } finally {
    docker("unpause", container(`agent-${node}`).Id);
  }
  await until(`${tenant} to answer again`, async () => (await stack.request(tenant, "/app")).status === 200);
});

test("the site in containers answers through the tunnel, with both instances connected", async () => {
  const answer = await stack.request("demo--acme", "/upload", { method: "POST", body: Buffer.alloc(300_000, "x") });
  expect([answer.status, answer.json()]).toEqual([200, expect.objectContaining({ bytes: 300_000 })]);
  expect((await stack.request("acme", "/plant/")).status).toBe(200);
  expect((await stack.request("relay", "/relay/acme/ping/")).text.trim()).toBe("PONG");
  const running = [...containers().keys()].filter((name) => name.startsWith("connector-"));
  expect(running.toSorted()).toEqual(["connector-plant-1-a", "connector-plant-1-b"]);
});

test("a new tenant is usable at once, in the node's container, while no container starts anew", async () => {
  const starts = () => [...containers()].map(([name, { State }]) => [name, State.StartedAt]);
  const before = [starts(), servicePids("walter-white").length] as const;
  const made = await stack.cli("tenant", "create", "initech", "--node", "walter-white", "--wait");
  expect(made.code, made.stderr).toBe(0);
  expect((await stack.request("initech", "/app")).json()).toMatchObject({ tenant: "initech", node: "walter-white" });
  expect([starts(), servicePids("walter-white").length]).toEqual([before[0], before[1] + 3]);
});

test("an Envoy that is killed comes back by itself; tenants of the other node notice nothing", async () => {
  const { Id } = container("envoy-walter-white");
  docker("exec", Id, "sh", "-c", "kill -KILL -1");
  let others = 0;
  await until("acme to answer again", async () => {
    expect((await stack.request("globex", "/app")).status).toBe(200);
    others++;
    return container("envoy-walter-white").RestartCount > 0 && (await stack.request("acme", "/app")).status === 200;
  });
  expect(others).toBeGreaterThan(0);
  expect((await stack.request("initech", "/app")).status).toBe(200);
});

test("containers have no rights and no secrets to show; the files with secrets are their owner's only", () => {
  for (const [name, { Config, HostConfig }] of containers()) {
    expect([name, HostConfig]).toEqual([
      name,
      expect.objectContaining({ ReadonlyRootfs: true, CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges:true"] }),
    ]);
    // The entry of the Postgres image begins as root; the server itself does not run as it.
    if (name === "postgres") continue;
    expect([name, Config.User]).toEqual([name, expect.stringMatching(/^[1-9]\d*:\d+$/)]);
  }
  const server = docker("top", container("postgres").Id, "-o", "pid,uid,args");
  expect(server).toMatch(/^\s*\d+\s+[1-9]\d*\s+postgres -c/m);

  const paths = statePaths(stateDir);
  const secrets = readSecrets(paths.secrets);
  const node = z.object({ key: z.object({ d: z.string() }) }).parse(json(join(paths.nodes, "walter-white/node.json")));
  const site = z
    .object({ privateKey: z.object({ d: z.string() }) })
    .parse(json(join(paths.connectors, "acme-plant-1.json")));
  const shown = docker("inspect", ...idsOf("ps", "--all")) + readFileSync(join(stateDir, "logs/compose.log"), "utf8");
  for (const secret of [secrets?.superuserPassword, secrets?.apiToken, node.key.d, site.privateKey.d]) {
    expect(typeof secret).toBe("string");
    expect(shown).not.toContain(secret);
    expect(stack.log("containers")).not.toContain(secret);
  }
  for (const file of ["postgres-password", "walter-white/node.json", "plant-1.json"]) {
    expect(statSync(join(stateDir, "compose/files", file)).mode & 0o777).toBe(0o600);
  }
  expect(statSync(join(stateDir, "compose")).mode & 0o077).toBe(0);
});

test("status and logs know of the containers", async () => {
  const parts = (await stack.cli("status", "--json")).stdout.trim().split("\n");
  expect(parts.map((line) => JSON.parse(line))).toContainEqual(
    expect.objectContaining({ name: "containers", state: "running" }),
  );
  const logs = await stack.cli("logs", "containers");
  expect(logs.stdout).toMatch(/agent-walter-white.*process started/);
});

test("down ends every container and the tenants' processes in them; the next start has all data, and says what it is not for", async () => {
  const pids = [...servicePids("walter-white"), ...servicePids("hank-schrader")];
  expect(pids.length).toBe(9);
  await stopStack(stateDir);
  expect(idsOf("ps", "--all")).toEqual([]);
  const running = new Map(listProcesses().map(({ pid, command }) => [pid, command]));
  expect(pids.filter((pid) => running.get(pid)?.includes("service.mjs"))).toEqual([]);

  const plain = await runCli(["up", "--detach", "--port", String(stack.edgePort), "--state-dir", stateDir]);
  expect([plain.code, plain.stderr]).toEqual([2, expect.stringContaining("--upstream compose")]);

  const port = String(stack.edgePort);
  const again = await runCli(["up", "--detach", "--upstream", "compose", "--port", port, "--state-dir", stateDir]);
  expect(again.code, again.stderr).toBe(0);
  expect(again.stdout).toContain("NOT FOR PRODUCTION");
  for (const tenant of ["acme", "globex", "initech"]) {
    expect([tenant, (await stack.request(tenant, "/app")).status]).toEqual([tenant, 200]);
  }
});

test("what a killed supervisor leaves is found and removed", async () => {
  const { pid } = z.object({ pid: z.number() }).parse(json(join(stateDir, "local.json")));
  process.kill(pid, "SIGKILL");
  expect(idsOf("ps").length).toBe(8);
  const down = await stack.cli("down");
  expect([down.code, down.stderr]).toEqual([0, expect.stringContaining("left behind")]);
  expect(idsOf("ps", "--all")).toEqual([]);
});

const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
