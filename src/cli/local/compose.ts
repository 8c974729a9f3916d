import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { stop as stopBundler } from "esbuild";
import { bundleCli } from "../build/bundle-cli.ts";
import { writeContainerContexts } from "../build/containers.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { CONTAINER_STOP_TIMEOUT_SECONDS, START_TIMEOUT_MS } from "../limits.ts";
import { type ComposeClient, createComposeClient } from "./compose-client.ts";
import { type ComposePaths, agentFileInContainer, composePaths, handOver, renderEnv } from "./compose-files.ts";
import { CONNECTOR_INSTANCES, NODE_NAMES, type NodeName, type StackContext, relayUrl } from "./context.ts";
import { writeFileAtomic } from "./files.ts";
import { logPath } from "./log-files.ts";
import type { StatePaths } from "./paths.ts";
import { type PostgresUrls, accepts, postgresUrls } from "./postgres.ts";
import { probe, until } from "./probe.ts";
import { step } from "./progress.ts";

/**
 * The upstream tier in containers (local-stack/compose.yaml) instead of processes of ours: Postgres, the nodes, the demo site. Docker starts
 * a container that died again; the supervisor looks after the Workers only.
 */
export interface ComposeUpstream {
  startPostgres(context: StackContext): Promise<PostgresUrls>;
  /** Both nodes; their identities are in these files. */
  startNodes(context: StackContext, credentials: (name: NodeName) => string): Promise<void>;
  startTarget(context: StackContext): Promise<void>;
  startConnectors(context: StackContext, credentials: string): Promise<void>;
  /** Ends all but Postgres, so that nothing is under way any more when the Workers stop. */
  drain(): Promise<void>;
  /** Ends and removes every container; volumes stay. */
  remove(): Promise<void>;
}

const STOP = ["--timeout", String(CONTAINER_STOP_TIMEOUT_SECONDS)] as const;
const UP = ["up", "--detach", "--no-build"] as const;
const nodeServices = NODE_NAMES.flatMap((name) => [`agent-${name}`, `envoy-${name}`]);
const connectorServices = CONNECTOR_INSTANCES.map((name) => `connector-${name}`);

export function composeUpstream(state: StatePaths): ComposeUpstream {
  const paths = composePaths(state.dir);
  const compose = inTurn(demandClient(paths, state));
  const ending = new AbortController();
  const run = (context: StackContext, ...args: readonly string[]) =>
    compose.run(args, AbortSignal.any([context.signal, ending.signal]));
  let images: Promise<void> | null = null;
  return {
    async startPostgres(context) {
      const port = context.usePort("postgres");
      const password = context.secrets.superuserPassword;
      handOver(join(paths.files, "postgres-password"), password);
      const isNew = !hasComposeData(state);
      writeFileAtomic(paths.env, renderEnv(paths, { relayUrl: relayUrl(context), port: context.port }, process.env));
      await writeContexts(paths);
      // Volumes of a stack whose folder was removed by hand: the keys to them are gone.
      if (isNew) await run(context, "down", "--volumes", "--remove-orphans");
      await run(context, ...UP, "postgres");
      // One service of each image is enough.
      images = step(context.report, "images", async () => {
        await run(context, "build", "target-demo", `agent-${NODE_NAMES[0]}`, `connector-${CONNECTOR_INSTANCES[0]}`);
        compose.removeImages("replaced");
      });
      images.catch(() => {}); // Awaited before the first of them is used; until then a failure is not "unhandled".
      await followLogs(context, compose);
      const urls = postgresUrls(port, password);
      const answers = () => accepts(urls.url("postgres")).catch(() => false);
      await until("Postgres to answer", answers, START_TIMEOUT_MS, context.signal);
      return urls;
    },
    async startNodes(context, credentials) {
      for (const name of NODE_NAMES) {
        handOver(join(paths.files, name, "node.json"), readFileSync(credentials(name), "utf8"));
        const file = JSON.stringify(agentFileInContainer(name, context.port), null, 2);
        handOver(join(paths.files, name, "agent.json"), `${file}\n`);
      }
      await images;
      const ports = NODE_NAMES.map((name) => {
        context.usePort(`envoy-${name}`);
        return { health: context.usePort(`health-${name}`), admin: context.usePort(`admin-${name}`) };
      });
      await run(context, ...UP, ...nodeServices);
      for (const { health, admin } of ports) {
        await untilOk(context, `http://127.0.0.1:${admin}/ready`);
        await untilOk(context, `http://127.0.0.1:${health}/readyz`);
      }
    },
    async startTarget(context) {
      await images;
      const port = context.usePort("target-demo");
      await run(context, ...UP, "target-demo");
      await untilOk(context, `http://127.0.0.1:${port}/healthz`);
    },
    async startConnectors(context, credentials) {
      handOver(join(paths.files, "plant-1.json"), readFileSync(credentials, "utf8"));
      await images;
      const ports = CONNECTOR_INSTANCES.map((instance) => context.usePort(`health-${instance}`));
      await run(context, ...UP, ...connectorServices);
      for (const port of ports) await untilOk(context, `http://127.0.0.1:${port}/readyz`);
    },
    async drain() {
      ending.abort();
      await compose.run(["stop", ...STOP, ...connectorServices, ...nodeServices, "target-demo"]);
    },
    remove: () => compose.run(["down", ...STOP, "--remove-orphans"]),
  };
}

/** What `causeway up` wrote for containers in this state folder before: its data are in volumes then. */
export const hasComposeData = (state: StatePaths): boolean => existsSync(composePaths(state.dir).env);

/** Removes the containers that a killed run left. Answers how many those were. */
export async function reapContainers(state: StatePaths): Promise<number> {
  const client = earlierProject(state);
  const found = client?.containers() ?? 0;
  if (client !== null && found > 0) await client.run(["down", ...STOP, "--remove-orphans"]);
  return found;
}

/** Removes the project with its volumes and images, and its files. */
export async function wipeContainers(state: StatePaths): Promise<void> {
  if (!hasComposeData(state)) return;
  const paths = composePaths(state.dir);
  const client = demandClient(paths, state);
  await client.run(["down", "--volumes", "--remove-orphans", ...STOP]);
  client.removeImages("all");
  rmSync(paths.dir, { recursive: true, force: true });
}

/** At once; for people who can't wait. */
export function killContainers(state: StatePaths): void {
  earlierProject(state)?.runSync(["down", "--timeout", "0", "--remove-orphans"]);
}

const earlierProject = (state: StatePaths): ComposeClient | null =>
  hasComposeData(state) ? createComposeClient(composePaths(state.dir), logPath(state.logs, "compose")) : null;

function demandClient(paths: ComposePaths, state: StatePaths): ComposeClient {
  const client = createComposeClient(paths, logPath(state.logs, "compose"));
  if (client !== null) return client;
  throw new CliError(
    EXIT.environment,
    "no Docker engine with a compose client answers (tried docker compose and docker-compose)",
    "Start Docker, or leave out --upstream compose: npx causeway up needs no containers.",
  );
}

/** One `compose` at a time: two that change one project get in each other's way. */
function inTurn(client: ComposeClient): ComposeClient {
  let last: Promise<unknown> = Promise.resolve();
  return {
    ...client,
    run: (args, signal) => {
      const mine = last.then(() => client.run(args, signal));
      last = mine.catch(() => {});
      return mine;
    },
  };
}

async function writeContexts({ dir, contexts }: ComposePaths): Promise<void> {
  const cli = join(dir, "cli");
  rmSync(cli, { recursive: true, force: true });
  await bundleCli(cli);
  await writeContainerContexts(cli, contexts);
  await stopBundler(); // It is a process of its own, which would stay as long as the stack.
}

/** All containers' output in one log. */
function followLogs(context: StackContext, compose: ComposeClient): Promise<void> {
  const { argv, env } = compose.command("logs", "--follow", "--no-color");
  const [command, ...args] = argv;
  return context.supervisor.start({
    name: "containers",
    tier: 1,
    command,
    args,
    env,
    ready: async () => true,
    groupDiesWithIt: true,
  });
}

const untilOk = (context: StackContext, url: string): Promise<void> =>
  until(`${url} to answer 200`, async () => (await probe(url, "127.0.0.1")) === 200, START_TIMEOUT_MS, context.signal);
