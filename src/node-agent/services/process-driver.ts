import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../../shared/log.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { replaceFile } from "../envoy/files.ts";
import type { Endpoint } from "../envoy/render.ts";
import { keepProcess, type KeptProcess } from "./kept-process.ts";
import { endRecorded } from "./recorded-process.ts";
import { described, keyOf as instanceKey, nameOf, ownEnvironment, untilHealthy, writeSecrets } from "./instance.ts";
import { chooseServicePort, portIsFree } from "./ports.ts";
import type { ServiceDriver, ServiceInstance } from "./service-driver.ts";

/** A command of the node operator's own catalogue (agent configuration). The control plane can only name it. */
export interface CatalogueCommand {
  readonly argv: readonly string[];
  readonly cwd?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
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

/** Services as child processes. They listen on a loopback port that they are given as PORT. */
export function createProcessDriver(options: ProcessDriverOptions): ServiceDriver {
  const { dir, node, catalogue, ports, random, log } = options;
  const running = new Map<string, Running>();
  const opening = new Map<string, Promise<Result<Endpoint, string>>>();
  let over = false;

  const commandOf = ({ driver }: ServiceInstance): CatalogueCommand | undefined =>
    driver.kind === "process" ? catalogue.get(driver.command) : undefined;
  const keyOf = (instance: ServiceInstance): string => instanceKey(instance, commandOf(instance));
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
    const serviceLog = log.with({ service: nameOf(instance) });
    let port = first;
    const kept = await keepProcess({
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
        // Only what a service needs: nothing of the agent's own environment but the path to programs.
        const env = {
          PATH: process.env["PATH"] ?? "",
          ...command.env,
          ...ownEnvironment(instance, node, port, secretsDir),
        };
        return { argv: command.argv, cwd: command.cwd, env };
      },
    });
    running.set(key, { instance, process: kept, port });
    return ok({ address: "127.0.0.1", port });
  };

  const endpointOf = (key: string): Endpoint | null => {
    const found = running.get(key);
    return found === undefined ? null : { address: "127.0.0.1", port: found.port };
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
      const command = commandOf(instance);
      if (command === undefined) return err(`this node's catalogue has no ${described(instance)}`);
      const key = keyOf(instance);
      const found = endpointOf(key);
      if (found !== null) return ok(found);
      const under = opening.get(key);
      if (under !== undefined) return under;
      if (over) return err("the agent stops");
      const opened = open(key, instance, command).finally(() => opening.delete(key));
      opening.set(key, opened);
      return opened;
    },
    healthy: (instance, signal) => untilHealthy(instance, () => endpointOf(keyOf(instance)), signal),
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
        name: nameOf(instance),
        pid: process.pid(),
        port,
      })),
    async close(endAll) {
      over = true;
      await Promise.allSettled(opening.values());
      const all = [...running.values()];
      if (endAll) await Promise.all(all.map(({ process }) => process.stop()));
      else for (const { process } of all) process.leave();
    },
  };
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
