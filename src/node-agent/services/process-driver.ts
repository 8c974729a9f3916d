import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../shared/log.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { replaceFile } from "../envoy/files.ts";
import type { Endpoint } from "../envoy/render.ts";
import { LIMITS } from "../limits.ts";
import { endRecorded, keepProcess, type KeptProcess } from "./kept-process.ts";
import { chooseServicePort, portIsFree } from "./ports.ts";

/** A command of the node operator's own catalogue (agent configuration). The control plane can only name it. */
export interface CatalogueCommand {
  readonly argv: readonly string[];
  readonly cwd?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
}

/** One service of one workspace of one tenant, in one form: other secrets or another command make another instance beside it. */
export interface ServiceInstance {
  readonly tenantId: string;
  readonly slug: string;
  readonly workspace: string;
  readonly service: string;
  readonly command: string;
  readonly healthPath: string | null;
  readonly secrets: Readonly<Record<string, string>>;
}

/**
 * Tenant services as child processes, one per tenant, workspace and service. They listen on a loopback port that they are given as PORT,
 * and outlive the agent.
 */
export interface ProcessDriver {
  /** Sees to it that the instance runs, and says where. Idempotent. Fails when the command is not in the catalogue or no port is free. */
  ensure(instance: ServiceInstance): Promise<Result<Endpoint, string>>;
  /** Waits until it answers its health check (or accepts connections when it has none). */
  healthy(instance: ServiceInstance, signal: AbortSignal): Promise<Result<null, string>>;
  /** Ends all instances of the tenant but these. */
  keepOnly(tenantId: string, instances: readonly ServiceInstance[]): Promise<void>;
  /** Ends what an earlier agent left behind for tenants that are not these. */
  endStrays(tenantIds: ReadonlySet<string>): Promise<void>;
  /** Directory keys and pids of what runs. */
  running(): { readonly name: string; readonly pid: number | null; readonly port: number }[];
  /** Ends everything, or leaves it running for the next agent. */
  close(end: boolean): Promise<void>;
}

interface Running {
  readonly instance: ServiceInstance;
  readonly process: KeptProcess;
  port: number;
}

export interface ProcessDriverOptions {
  /** `<dir>/<tenant>/<workspace>/<service>/<form>/` per instance. */
  readonly dir: string;
  readonly node: string;
  readonly catalogue: ReadonlyMap<string, CatalogueCommand>;
  readonly ports: { readonly from: number; readonly to: number };
  readonly random: () => number;
  readonly log: Logger;
  /** A service had to move to another port (its old one was taken when it was started again). */
  readonly onMoved: (tenantId: string) => void;
}

export function createProcessDriver(options: ProcessDriverOptions): ProcessDriver {
  const { dir, node, catalogue, ports, random, log } = options;
  const running = new Map<string, Running>();
  const opening = new Map<string, Promise<Result<Endpoint, string>>>();

  const keyOf = (instance: ServiceInstance): string => {
    const { tenantId, workspace, service } = instance;
    return join(tenantId, workspace, service, formOf(instance, catalogue.get(instance.command)));
  };
  const taken = (): Set<number> => new Set([...running.values()].map(({ port }) => port));

  const open = async (
    key: string,
    instance: ServiceInstance,
    command: CatalogueCommand,
  ): Promise<Result<Endpoint, string>> => {
    const home = join(dir, key);
    const portFile = join(home, "port");
    const secretsDir = join(home, "secrets");
    await mkdir(home, { recursive: true, mode: 0o700 });
    await writeSecrets(secretsDir, instance.secrets);
    const choose = async (): Promise<number | null> => {
      const port = await chooseServicePort(ports, taken(), random);
      if (port !== null) await replaceFile(portFile, String(port), 0o600);
      return port;
    };
    const first = readPort(portFile) ?? (await choose());
    if (first === null) return err("no port is free for the service");
    const name = `${instance.tenantId}/${instance.workspace}/${instance.service}`;
    const serviceLog = log.with({ service: name });
    let port = first;
    const process = await keepProcess({
      dir: home,
      log: serviceLog,
      command: async () => {
        if (!(await portIsFree(port))) {
          const other = await choose();
          if (other === null) throw new Error("no port is free");
          serviceLog.warn("the service's port was taken, it moves", { from: port, to: other });
          port = other;
          const self = running.get(key);
          if (self !== undefined) {
            self.port = other;
            options.onMoved(instance.tenantId);
          }
        }
        return { argv: command.argv, cwd: command.cwd, env: environment(instance, node, port, secretsDir, command) };
      },
    });
    running.set(key, { instance, process, port });
    return ok({ address: "127.0.0.1", port });
  };

  const end = async (key: string): Promise<void> => {
    const found = running.get(key);
    running.delete(key);
    if (found === undefined) await endRecorded(join(dir, key));
    else await found.process.stop();
    await rm(join(dir, key), { recursive: true, force: true });
  };

  return {
    async ensure(instance) {
      const command = catalogue.get(instance.command);
      if (command === undefined) return err(`this node's catalogue has no command "${instance.command}"`);
      const key = keyOf(instance);
      const found = running.get(key);
      if (found !== undefined) return ok({ address: "127.0.0.1", port: found.port });
      const under = opening.get(key);
      if (under !== undefined) return under;
      const opened = open(key, instance, command).finally(() => opening.delete(key));
      opening.set(key, opened);
      return opened;
    },
    async healthy(instance, signal) {
      let last = "it is not running";
      while (!signal.aborted) {
        const port = running.get(keyOf(instance))?.port;
        if (port !== undefined) {
          const answer = await check(port, instance.healthPath ?? "/");
          if (typeof answer === "string") last = answer;
          else if (instance.healthPath === null || (answer >= 200 && answer < 300)) return ok(null);
          else last = `${instance.healthPath} answered ${answer}`;
        }
        await sleep(LIMITS.healthCheckIntervalMs, undefined, { signal }).catch(() => undefined);
      }
      return err(`service ${instance.service} did not become healthy: ${last}`);
    },
    async keepOnly(tenantId, instances) {
      const keep = new Set(instances.map(keyOf));
      const all = new Set([...running.keys()].filter((key) => key.startsWith(`${tenantId}/`)));
      for (const key of await instancesOnDisk(dir, tenantId)) all.add(key);
      await Promise.all([...all].filter((key) => !keep.has(key)).map(end));
      if (keep.size === 0) await rm(join(dir, tenantId), { recursive: true, force: true });
    },
    async endStrays(tenantIds) {
      const found = existsSync(dir) ? await readdir(dir) : [];
      const strays = found.filter((tenantId) => !tenantIds.has(tenantId));
      await Promise.all(strays.map((tenantId) => this.keepOnly(tenantId, [])));
    },
    running: () =>
      [...running.values()].map(({ instance, process, port }) => ({
        name: `${instance.tenantId}/${instance.workspace}/${instance.service}`,
        pid: process.pid(),
        port,
      })),
    async close(endAll) {
      const all = [...running.values()];
      if (endAll) await Promise.all(all.map(({ process }) => process.stop()));
      else for (const { process } of all) process.leave();
    },
  };
}

/** Names the form of an instance: whatever changes it needs a new process. */
function formOf(instance: ServiceInstance, command: CatalogueCommand | undefined): string {
  const { slug, secrets } = instance;
  const sorted = Object.keys(secrets)
    .toSorted()
    .map((name) => [name, secrets[name]]);
  const parts = [instance.command, command?.argv, command?.cwd, command?.env, slug, sorted];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}

/** Only what a service needs: nothing of the agent's own environment but the path to programs. */
function environment(
  instance: ServiceInstance,
  node: string,
  port: number,
  secretsDir: string,
  command: CatalogueCommand,
): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "",
    ...command.env,
    PORT: String(port),
    CAUSEWAY_TENANT: instance.slug,
    CAUSEWAY_TENANT_ID: instance.tenantId,
    CAUSEWAY_WORKSPACE: instance.workspace,
    CAUSEWAY_SERVICE: instance.service,
    CAUSEWAY_NODE: node,
    CAUSEWAY_SECRETS_DIR: secretsDir,
  };
}

/** One file a secret, so that none is in an environment that others could read. */
async function writeSecrets(secretsDir: string, secrets: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(secretsDir, { recursive: true, mode: 0o700 });
  for (const [name, value] of Object.entries(secrets)) await replaceFile(join(secretsDir, name), value, 0o600);
}

function readPort(portFile: string): number | null {
  try {
    const port = Number(readFileSync(portFile, "utf8"));
    return Number.isInteger(port) && port > 0 && port < 65536 ? port : null;
  } catch {
    return null;
  }
}

async function instancesOnDisk(dir: string, tenantId: string): Promise<string[]> {
  const below = async (path: string): Promise<string[]> =>
    (await readdir(join(dir, path)).catch(() => [])).map((name) => join(path, name));
  const services = (await Promise.all((await below(tenantId)).map(below))).flat();
  return (await Promise.all(services.map(below))).flat();
}

/** Status code of a GET, or a sentence about why there is none. */
const check = (port: number, path: string): Promise<number | string> =>
  new Promise((resolve) => {
    const asked = request(
      { host: "127.0.0.1", port, path, timeout: LIMITS.healthCheckTimeoutMs, agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    asked.on("timeout", () => asked.destroy(new Error("no answer in time")));
    asked.on("error", (error) => resolve(error.message));
    asked.end();
  });
