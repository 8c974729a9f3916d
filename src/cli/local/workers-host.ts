import { readFileSync } from "node:fs";
import { join } from "node:path";
import { argv, exit, stdout } from "node:process";
import {
  Log,
  LogLevel,
  Miniflare,
  type V4MiniflareOptions,
  type V4WorkerOptions,
  convertV4MiniflareOptions,
} from "miniflare";
import { createLogger } from "../../shared/log.ts";
import { LOCAL_CRON_INTERVAL_MS } from "../limits.ts";
import { WORKERS } from "../workers/list.ts";
import { readOptions } from "../workers/options.ts";
import { listProcesses } from "./process-table.ts";
import { type WorkersMessage, workersConfig } from "./workers-config.ts";

/**
 * Part "workers" of the local stack: all seven Workers in one workerd, by the Miniflare API (this file alone knows how). Edge and console
 * have direct sockets. Miniflare's own entry port would obey headers from anybody (`MF-Route-Override` names any Worker), so it gets a
 * port that nobody is told.
 */
const log = createLogger("workers", (line) => stdout.write(`${line}\n`));
const [, , configFile] = argv;
if (configFile === undefined) exit(2);
const config = workersConfig.parse(JSON.parse(readFileSync(configFile, "utf8")));

const publicPorts: Readonly<Record<string, number>> = {
  "causeway-edge": config.edgePort,
  "causeway-console": config.consolePort,
};

/** What Hyperdrive is elsewhere: these keep their connections to PostgreSQL in an object (docs/adr/0011). */
const POOLED: ReadonlySet<string> = new Set(["causeway-console", "causeway-provisioner"]);

function workerOptions(): V4WorkerOptions[] {
  const prepared = readOptions(config.buildDir);
  return WORKERS.map(({ name }) => {
    const own = prepared[name];
    if (own === undefined) throw new Error(`${name} was not prepared`);
    const local = config.workers[name] ?? { bindings: {}, hyperdrives: {} };
    const directory = join(config.buildDir, name);
    const port = publicPorts[name];
    const options: V4WorkerOptions = {
      ...own.options,
      name,
      modules: true,
      scriptPath: join(directory, "worker.js"),
      // Both are needed, or Miniflare refuses the path ("can't use '..'").
      modulesRoot: directory,
      rootPath: directory,
      bindings: { ...own.options.bindings, ...local.bindings },
      hyperdrives: { ...own.options.hyperdrives, ...local.hyperdrives },
      durableObjects: { ...own.options.durableObjects, ...(POOLED.has(name) && { POOLED: "Pooled" }) },
      ...(port === undefined ? {} : { unsafeDirectSockets: [{ host: "127.0.0.1", port }] }),
    };
    return options;
  });
}

const options: V4MiniflareOptions = {
  host: "127.0.0.1",
  port: 0,
  cf: false,
  telemetry: { enabled: false },
  log: new Log(LogLevel.WARN),
  logRequests: false,
  resourcePersistencePath: config.persistDir,
  // The Workers log JSON lines already; everything else of workerd gets one.
  handleStructuredLogs: ({ level, message }) => {
    if (message.startsWith("{")) stdout.write(`${message}\n`);
    else log[level === "error" ? "error" : "info"](message);
  },
  // workerd died and is back on the same ports. Queues were in its memory only, so the outbox is swept at once.
  unsafeHandleRuntimeRestart: async () => {
    announceRuntime();
    await sweep();
  },
  workers: workerOptions(),
};

const miniflare = new Miniflare(convertV4MiniflareOptions(options));

function announceRuntime(): void {
  const runtime = listProcesses().find((found) => found.parentPid === process.pid && found.command.includes("workerd"));
  if (runtime === undefined) return;
  process.send?.({ type: "workerd", pid: runtime.pid } satisfies WorkersMessage);
}

/** Crons never fire by themselves locally. The provisioner's sends the outbox and takes up what got lost. */
async function sweep(): Promise<void> {
  try {
    const provisioner = await miniflare.getWorker("causeway-provisioner");
    await provisioner.scheduled({ cron: "* * * * *" });
  } catch (error) {
    log.warn("the provisioner's cron failed", { error: error instanceof Error ? error.message : String(error) });
  }
}

async function stop(): Promise<void> {
  clearInterval(cron);
  await miniflare.dispose();
  exit(0);
}

process.on("SIGTERM", () => void stop());
process.on("SIGINT", () => void stop());

const cron = setInterval(() => void sweep(), LOCAL_CRON_INTERVAL_MS);
try {
  await miniflare.ready;
} catch (error) {
  log.error("workerd did not start", { error: error instanceof Error ? error.message : String(error) });
  exit(1);
}
announceRuntime();
log.info("ready", { edgePort: config.edgePort, consolePort: config.consolePort });
void sweep();
