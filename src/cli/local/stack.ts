import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "../../shared/log.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { startBackend } from "./backend.ts";
import {
  type ComposeUpstream,
  composeUpstream,
  hasComposeData,
  killContainers,
  reapContainers,
  wipeContainers,
} from "./compose.ts";
import {
  BASE_DOMAIN,
  NODE_NAMES,
  PORT_NAMES,
  type StackContext,
  type Upstream,
  type UpstreamKind,
  consoleUrl,
  edgeUrl,
  relayUrl,
} from "./context.ts";
import { startDemo } from "./demo.ts";
import { findEnvoy } from "./envoy-binary.ts";
import { writeJson } from "./files.ts";
import { openLedger, readLedger, reapLeftovers, signal } from "./ledger.ts";
import type { LocalStack } from "./local-json.ts";
import { reapNodes, startNodes } from "./nodes.ts";
import { PACKAGE_ROOT, type StatePaths } from "./paths.ts";
import { type HeldPorts, choosePorts, demandPort } from "./ports.ts";
import { CONTROL_DATABASE, dataDir } from "./postgres.ts";
import { type PostgresInstallation, findPostgres } from "./postgres-binaries.ts";
import { letNobodyPass, letPass } from "./private-folder.ts";
import { type Report, step } from "./progress.ts";
import { type StackSecrets, makeSecrets, readSecrets, writeSecrets } from "./secrets.ts";
import { writeStatus } from "./status-file.ts";
import { createSupervisor } from "./supervisor.ts";

export interface StackOptions {
  readonly paths: StatePaths;
  readonly edgePort: number;
  readonly fresh: boolean;
  readonly upstream: UpstreamKind;
  readonly report: Report;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface RunningStack {
  readonly local: LocalStack;
  /** Stops everything, in reverse order, and removes local.json. */
  stop(): Promise<void>;
}

/**
 * Starts the whole local stack: cloud mode on one machine. Everything is kept over restarts and made only where it is missing. When a
 * step fails or `signal` is raised, all that was started is stopped before this rejects.
 */
export async function startStack(options: StackOptions): Promise<RunningStack> {
  const { paths, report, log, edgePort } = options;
  const { secrets, ports, postgres, containers } = await step(report, "prepare", (note) => prepare(options, note));
  const startedAtMs = Date.now();
  let ready = false;
  const supervisor = createSupervisor({
    logs: paths.logs,
    ledger: openLedger(paths.ledger),
    log,
    changed: () => writeStatus(paths.status, { pid: process.pid, startedAtMs, ready, parts: supervisor.status() }),
  });
  const stop = async () => {
    ports.releaseAll();
    rmSync(paths.localJson, { force: true });
    await containers?.drain().catch((error: unknown) => log.error("containers did not stop", { error: String(error) }));
    await supervisor.stopAll();
    await containers?.remove().catch((error: unknown) => log.error("containers are left", { error: String(error) }));
    rmSync(paths.status, { force: true });
    rmSync(paths.workersConfig, { force: true });
  };
  const context: StackContext = {
    paths,
    secrets,
    saveSecrets: () => writeSecrets(paths.secrets, secrets),
    edgePort,
    consolePort: edgePort + 1,
    port: (name) => ports.get(name),
    usePort: (name) => {
      ports.release(name);
      return ports.get(name);
    },
    upstream: containers === null ? processUpstream(postgres, report) : { kind: "compose", containers },
    supervisor,
    report,
    log,
    signal: options.signal,
  };
  try {
    const { api, postgres: local } = await unlessEnvoyIsMissing(context.upstream, startBackend(context));
    await startNodes(context, api);
    const demo = await startDemo(context, api);
    options.signal.throwIfAborted();
    const stack: LocalStack = {
      edgeUrl: edgeUrl(context),
      baseDomain: BASE_DOMAIN,
      consoleUrl: consoleUrl(context),
      relayUrl: relayUrl(context),
      apiToken: secrets.apiToken ?? "",
      databaseUrl: local.url(CONTROL_DATABASE),
      nodes: NODE_NAMES.map((name) => ({
        name,
        envoyUrl: `http://127.0.0.1:${context.port(`envoy-${name}`)}`,
        adminUrl: `http://127.0.0.1:${context.port(`admin-${name}`)}`,
      })),
      tenants: demo.tenants,
      connectors: demo.connectors,
      pid: process.pid,
    };
    ready = true;
    writeStatus(paths.status, { pid: process.pid, startedAtMs, ready, parts: supervisor.status() });
    writeJson(paths.localJson, stack);
    return { local: stack, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Without Envoy the start ends at once, not when the first node needs it. */
function unlessEnvoyIsMissing<T>(upstream: Upstream, work: Promise<T>): Promise<T> {
  if (upstream.kind !== "process") return work;
  work.catch(() => {}); // It goes on for a moment when Envoy is missing, and must not fail unheard.
  return Promise.race([work, upstream.envoy.then(() => work)]);
}

interface Prepared {
  readonly secrets: StackSecrets;
  readonly ports: HeldPorts;
  readonly postgres: PostgresInstallation;
  /** Null: the upstream tier runs as processes. */
  readonly containers: ComposeUpstream | null;
}

async function prepare(options: StackOptions, note: (text: string) => void): Promise<Prepared> {
  const { paths, edgePort } = options;
  letPass(paths); // So that it can be tried whether Postgres' user gets through.
  rmSync(paths.localJson, { force: true });
  const reaped = await reapStack(paths);
  if (reaped > 0) note(`ended ${reaped} processes that a killed run had left behind`);
  const containers = options.upstream === "compose" ? composeUpstream(paths) : null;
  const postgres = await findPostgres(paths.dir);
  if (containers !== null || postgres.user === null || postgres.reachableDir !== null) letNobodyPass(paths);
  if (options.fresh) await wipe(paths, postgres);
  refuseOtherUpstream(paths, options.upstream);
  await demandPort(edgePort, "edge");
  await demandPort(edgePort + 1, "console");
  const kept =
    containers === null ? existsSync(join(dataDir(paths.dir, postgres), "PG_VERSION")) : hasComposeData(paths);
  const secrets = await keptSecrets(paths, kept);
  const ports = await choosePorts(paths.ports, PORT_NAMES, [edgePort, edgePort + 1]);
  return { secrets, ports, postgres, containers };
}

/** Ends what a killed run left behind; answers how many parts and helpers that were. Tenants' services are not counted. */
export async function reapStack(paths: StatePaths): Promise<number> {
  const reaped = await reapLeftovers(paths.ledger, [PACKAGE_ROOT, paths.dir]);
  await reapNodes(paths);
  return reaped.length + (await reapContainers(paths));
}

async function keptSecrets(paths: StatePaths, dataExist: boolean): Promise<StackSecrets> {
  const kept = readSecrets(paths.secrets);
  if (kept !== null) return kept;
  if (dataExist) {
    throw new CliError(
      EXIT.usage,
      `the stack's data is there, but the keys to it are not (${paths.secrets} is missing or damaged)`,
      "Put the file back, or start anew without the old data: npx causeway up --fresh",
    );
  }
  const made = await makeSecrets();
  writeSecrets(paths.secrets, made);
  return made;
}

/** Data in containers' volumes are of no use to processes, and the other way round. */
function refuseOtherUpstream(paths: StatePaths, wanted: UpstreamKind): void {
  const made = hasComposeData(paths) ? "compose" : existsSync(paths.secrets) ? "process" : wanted;
  if (made === wanted) return;
  throw new CliError(
    EXIT.usage,
    `the stack's data in ${paths.dir} were made with --upstream ${made}`,
    `Start it with that, take another --state-dir, or start anew without the old data: npx causeway up --fresh`,
  );
}

/** Removes all data, but nothing that is not ours: the folder itself may hold other things. */
async function wipe(paths: StatePaths, postgres: PostgresInstallation): Promise<void> {
  await wipeContainers(paths);
  const all = [dataDir(paths.dir, postgres), paths.postgres, paths.workers, paths.build, paths.nodes, paths.connectors];
  for (const path of [...all, paths.secrets, paths.ports, paths.status, paths.ledger, paths.workersConfig]) {
    rmSync(path, { recursive: true, force: true });
  }
  rmSync(paths.logs, { recursive: true, force: true });
  mkdirSync(paths.logs, { recursive: true });
}

function processUpstream(postgres: PostgresInstallation, report: Report): Upstream {
  const envoy = step(report, "envoy", (note) => envoyBinary(note));
  envoy.catch(() => {}); // Awaited by the nodes; until then a failure is not "unhandled".
  return { kind: "process", postgres, envoy };
}

async function envoyBinary(note: (text: string) => void): Promise<string> {
  const found = await findEnvoy({ cacheDir: join(PACKAGE_ROOT, "node_modules/.cache/causeway"), onProgress: note });
  if (found.ok) return found.value;
  throw new CliError(EXIT.environment, `Envoy is missing: ${found.error.reason}`, `What to do: ${found.error.remedy}.`);
}

/** Ends every process of the stack at once, cleanly or not; for people who can't wait. */
export function killStack(paths: StatePaths): void {
  for (const { pid } of readLedger(paths.ledger)) signal(-pid, "SIGKILL");
  killContainers(paths);
  rmSync(paths.localJson, { force: true });
  rmSync(paths.lock, { force: true });
}
