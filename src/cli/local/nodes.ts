import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import type { AgentFile } from "../../node-agent/main.ts";
import type { Api } from "../api/client.ts";
import { node, nodeEnrolment } from "../api/types.ts";
import { waitForOperation } from "../api/wait.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { START_TIMEOUT_MS } from "../limits.ts";
import { NODE_NAMES, type NodeName, type StackContext, relayUrl } from "./context.ts";
import { writeJson } from "./files.ts";
import { COMPILE_CACHE, PACKAGE_ROOT, type StatePaths } from "./paths.ts";
import { probe, until } from "./probe.ts";
import { step } from "./progress.ts";

/** Tenants that a demo node takes: more than anybody makes by hand. */
const NODE_CAPACITY = 100;

/** Both nodes: registered, enrolled with a one-time token, each an Envoy and an agent side by side. */
export async function startNodes(context: StackContext, api: Api): Promise<void> {
  const { upstream, paths } = context;
  await step(context.report, "nodes", async () => {
    await Promise.all(NODE_NAMES.map((name) => identify(context, api, name)));
    if (upstream.kind === "compose") {
      await upstream.containers.startNodes(context, (name) => nodeFiles(paths, name).credentials);
    } else await Promise.all(NODE_NAMES.map((name) => startNode(context, upstream.envoy, name)));
  });
}

interface NodeFiles {
  readonly stateDir: string;
  readonly credentials: string;
  readonly config: string;
  readonly bootstrap: string;
}

function nodeFiles(paths: StatePaths, name: string): NodeFiles {
  const stateDir = join(paths.nodes, name);
  return {
    stateDir,
    credentials: join(stateDir, "node.json"),
    config: join(stateDir, "agent.json"),
    bootstrap: join(stateDir, "envoy/bootstrap.json"),
  };
}

/** Makes sure that the node has its id and key on disk. */
async function identify(context: StackContext, api: Api, name: NodeName): Promise<void> {
  const files = nodeFiles(context.paths, name);
  mkdirSync(files.stateDir, { recursive: true, mode: 0o700 });
  if (existsSync(files.credentials)) await followRelay(files.credentials, relayUrl(context));
  else await enrol(context, api, name, files);
}

async function startNode(context: StackContext, envoy: Promise<string>, name: NodeName): Promise<void> {
  const { supervisor } = context;
  const files = nodeFiles(context.paths, name);
  writeJson(files.config, agentFile(context, name));
  // Envoy starts from what this start's agent writes.
  rmSync(files.bootstrap, { force: true });
  const agentPort = context.usePort(`health-${name}`);
  const agent = supervisor.start({
    name: `agent-${name}`,
    tier: 3,
    command: execPath,
    args: [join(PACKAGE_ROOT, "src/cli/main.ts"), "node", "run", "--config", files.config],
    ready: async () => (await probe(`http://127.0.0.1:${agentPort}/readyz`, "127.0.0.1")) === 200,
    // Tenants' services outlive their agent, and the next one adopts them.
    groupDiesWithIt: false,
  });
  agent.catch(() => {}); // Awaited below; until then a failure is not "unhandled".
  const written = until(
    `the agent of ${name} to write Envoy's bootstrap`,
    async () => existsSync(files.bootstrap),
    START_TIMEOUT_MS,
    context.signal,
  );
  await Promise.race([agent, written]);
  context.usePort(`envoy-${name}`);
  const adminPort = context.usePort(`admin-${name}`);
  await supervisor.start({
    name: `envoy-${name}`,
    tier: 2,
    command: await envoy,
    args: [
      "-c",
      files.bootstrap,
      "--disable-hot-restart",
      "--reject-unknown-dynamic-fields",
      "--concurrency",
      "1",
      "--log-level",
      "warning",
    ],
    ready: async () => (await probe(`http://127.0.0.1:${adminPort}/ready`, "127.0.0.1")) === 200,
    groupDiesWithIt: true,
  });
  await agent;
}

async function enrol(context: StackContext, api: Api, name: NodeName, files: NodeFiles): Promise<void> {
  const known = await api.find(`/nodes/${name}`, node);
  const answer =
    known === null
      ? await api.post(
          "/nodes",
          { name, envoyUrl: `http://127.0.0.1:${context.port(`envoy-${name}`)}`, capacity: NODE_CAPACITY },
          nodeEnrolment,
        )
      : await api.post(`/nodes/${name}/enrolments`, {}, nodeEnrolment);
  // The relay must know of the token before it is shown to it.
  await waitForOperation(api, answer.operation.id, () => {}, { signal: context.signal });
  const { enrolNode } = await import("../../node-agent/main.ts");
  const enrolled = await enrolNode(relayUrl(context), answer.enrolmentToken, files.credentials);
  if (!enrolled.ok) throw new CliError(EXIT.failed, `${name} could not be enrolled: ${enrolled.error.message}`);
}

/** A stack that is started on another port has its relay there. */
async function followRelay(credentialsFile: string, url: string): Promise<void> {
  const { readCredentials } = await import("../../node-agent/main.ts");
  const read = readCredentials(credentialsFile);
  if (!read.ok) throw new CliError(EXIT.usage, read.error, "Start anew without the old data: npx causeway up --fresh");
  if (read.value.relayUrl !== url) writeJson(credentialsFile, { ...read.value, relayUrl: url });
}

function agentFile(context: StackContext, name: NodeName): AgentFile {
  return {
    stateDir: ".",
    credentialsFile: "node.json",
    envoy: { binary: null, port: context.port(`envoy-${name}`), adminPort: context.port(`admin-${name}`) },
    healthPort: context.port(`health-${name}`),
    commands: {
      "demo-service": {
        argv: [execPath, join(PACKAGE_ROOT, "local-stack/demo-service/main.ts")],
        env: { NODE_COMPILE_CACHE: COMPILE_CACHE },
      },
    },
    // Stopping the stack stops its tenants' services; a killed agent's go on until the next one adopts them.
    stopServices: true,
  };
}

/** Ends the services of agents that are gone, so that nothing of a killed run is left. */
export async function reapNodes(paths: StatePaths): Promise<void> {
  if (!existsSync(paths.nodes)) return;
  const { reapNode } = await import("../../node-agent/main.ts");
  for (const name of readdirSync(paths.nodes)) await reapNode(nodeFiles(paths, name).stateDir);
}
