import { mkdir, rm } from "node:fs/promises";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../../shared/log.ts";
import { err, ok, type Result } from "../../../shared/result.ts";
import type { Endpoint } from "../../envoy/render.ts";
import { LIMITS } from "../../limits.ts";
import { described, keyOf as instanceKey, nameOf, untilHealthy, writeSecrets } from "../instance.ts";
import { chooseServicePort } from "../ports.ts";
import type { ServiceDriver, ServiceInstance } from "../service-driver.ts";
import { containerName, containerSpec, LABEL, type CatalogueImage } from "./container-spec.ts";
import type { Container, Engine, EngineFailure, RegistryLogin } from "./engine.ts";

export interface DockerDriverOptions {
  readonly engine: Engine;
  /** Secrets of each instance: `<dir>/<tenant>/<workspace>/<service>/<form>/`. */
  readonly dir: string;
  /** The same directory on the engine's machine, which is another path when the agent runs in a container itself. */
  readonly dirOnHost: string;
  readonly nodeId: string;
  readonly node: string;
  readonly catalogue: ReadonlyMap<string, CatalogueImage>;
  /** Containers are reached by name in this network of the engine; null: by a port of the host's loopback. */
  readonly network: string | null;
  readonly ports: { readonly from: number; readonly to: number };
  /** Read anew for every pull. Null: the registry of that image wants none. */
  readonly loginFor: (image: string) => Promise<RegistryLogin | null>;
  readonly random: () => number;
  readonly log: Logger;
  /** A service has another address than before. */
  readonly onMoved: (tenantId: string) => void;
}

interface Wanted {
  readonly instance: ServiceInstance;
  readonly entry: CatalogueImage;
  endpoint: Endpoint;
}

/**
 * Services as containers of a Docker engine. The engine keeps them running; the driver makes, adopts and removes them, and looks every few
 * seconds whether somebody else has stopped or removed one. Everything of ours is found by its labels, so nothing is left behind.
 */
export function createDockerDriver(options: DockerDriverOptions): ServiceDriver {
  const { engine, nodeId, node, catalogue, network, log } = options;
  const wanted = new Map<string, Wanted>();
  const opening = new Map<string, Promise<Result<Endpoint, string>>>();
  /** Tenants with containers that should be gone, but the engine did not answer. */
  const owed = new Set<string>();
  const over = new AbortController();

  const entryOf = ({ driver }: ServiceInstance): CatalogueImage | undefined =>
    driver.kind === "docker" ? catalogue.get(driver.image) : undefined;
  const keyOf = (instance: ServiceInstance): string => instanceKey(instance, entryOf(instance));
  const find = async (...labels: readonly string[]): Promise<Result<Container[], EngineFailure>> =>
    engine.list([`${LABEL.node}=${nodeId}`, ...labels]);

  const endpointAt = (key: string, hostPort: number, { port }: CatalogueImage): Endpoint =>
    network === null ? { address: "127.0.0.1", port: hostPort } : { address: containerName(nodeId, key), port };

  const fetchImage = async ({ image, pull }: CatalogueImage): Promise<Result<null, EngineFailure>> => {
    if (pull !== "always") {
      const has = await engine.hasImage(image);
      if (!has.ok || has.value) return has.ok ? ok(null) : has;
      if (pull === "never") return err({ kind: "refused", message: `image ${image} is not on this machine` });
    }
    log.info("pulling an image", { image });
    return engine.pull(image, await options.loginFor(image));
  };

  /** Makes and starts it, on `firstPort` if that one is free. */
  const make = async (
    key: string,
    instance: ServiceInstance,
    entry: CatalogueImage,
    firstPort: number | null,
  ): Promise<Result<Endpoint, EngineFailure>> => {
    const image = await fetchImage(entry);
    if (!image.ok) return image;
    const secretsDir = join(options.dir, key);
    await mkdir(secretsDir, { recursive: true, mode: 0o700 });
    await writeSecrets(secretsDir, instance.secrets, ownerOf(entry));
    const taken = new Set([...wanted.values()].map(({ endpoint }) => endpoint.port));
    let port = firstPort;
    for (let tries = 0; tries < LIMITS.portTries; tries++) {
      if (network === null) port ??= await chooseServicePort(options.ports, taken, options.random);
      if (network === null && port === null) return err({ kind: "port", message: "no port is free for the service" });
      const spec = containerSpec(instance, entry, {
        key,
        nodeId,
        node,
        secretsDir: join(options.dirOnHost, relative(options.dir, secretsDir)),
        hostPort: port,
        network,
      });
      const id = await engine.create(containerName(nodeId, key), spec);
      if (!id.ok) return id;
      const started = await engine.start(id.value);
      if (started.ok) return ok(endpointAt(key, port ?? 0, entry));
      await engine.end(id.value, 0);
      if (started.error.kind !== "port" || network !== null) return started;
      if (port !== null) taken.add(port);
      port = null;
    }
    return err({ kind: "port", message: "all ports that were tried are taken" });
  };

  /** What is there is taken as it is, started if it stands still; else it is made, on `oldPort` if that one is free. */
  const ensure = async (
    key: string,
    instance: ServiceInstance,
    entry: CatalogueImage,
    oldPort: number | null,
  ): Promise<Result<Endpoint, EngineFailure>> => {
    const found = await find(`${LABEL.instance}=${key}`);
    if (!found.ok) return found;
    const [there, ...doubles] = found.value;
    for (const double of doubles) await engine.end(double.Id, 0);
    const port = Number(there?.Labels[LABEL.port]);
    const reachable = there !== undefined && (network === null) === port > 0;
    if (reachable && isUp(there)) {
      log.info("container adopted", { service: nameOf(instance) });
      return ok(endpointAt(key, port, entry));
    }
    if (reachable && (await engine.start(there.Id)).ok) return ok(endpointAt(key, port, entry));
    if (there !== undefined) await engine.end(there.Id, 0);
    const made = await make(key, instance, entry, reachable && port > 0 ? port : oldPort);
    if (made.ok) log.info("container started", { service: nameOf(instance), port: made.value.port });
    return made;
  };

  const open = async (
    key: string,
    instance: ServiceInstance,
    entry: CatalogueImage,
  ): Promise<Result<Endpoint, string>> => {
    const up = await ensure(key, instance, entry, null).catch((error: unknown): Result<Endpoint, EngineFailure> =>
      err({ kind: "refused", message: error instanceof Error ? error.message : String(error) }),
    );
    if (!up.ok) return err(`service ${instance.service}: ${up.error.message}`);
    wanted.set(key, { instance, entry, endpoint: up.value });
    return up;
  };

  const endAll = async (containers: readonly Container[]): Promise<void> => {
    const ended = containers.map(async ({ Id, Labels }) => {
      const key = Labels[LABEL.instance];
      if (key !== undefined) wanted.delete(key);
      const gone = await engine.end(Id, LIMITS.stopGraceMs / 1000);
      if (!gone.ok) return log.error("a container could not be removed", { reason: gone.error.message });
      if (key !== undefined && isKey(key)) await rm(join(options.dir, key), { recursive: true, force: true });
    });
    await Promise.all(ended);
  };

  /** Ends the tenant's containers that nobody wants; later, when the engine does not answer now. */
  const endUnwanted = async (tenantId: string): Promise<void> => {
    owed.add(tenantId);
    const found = await find(`${LABEL.tenant}=${tenantId}`);
    if (!found.ok)
      return log.error("a tenant's old containers stay for now", { tenantId, reason: found.error.message });
    owed.delete(tenantId);
    const isWanted = (key = ""): boolean => wanted.has(key) || opening.has(key);
    await endAll(found.value.filter(({ Labels }) => !isWanted(Labels[LABEL.instance])));
  };

  /** Whoever runs `docker stop` or `docker rm` on a tenant's container has not told the control plane: it comes back. */
  const heal = async (): Promise<void> => {
    for (const tenantId of owed) await endUnwanted(tenantId);
    if (wanted.size === 0) return;
    const found = await find();
    if (!found.ok) return log.warn("the engine could not be asked", { reason: found.error.message });
    const up = new Set(found.value.filter(isUp).map(({ Labels }) => Labels[LABEL.instance]));
    for (const [key, { instance, entry, endpoint }] of wanted) {
      if (up.has(key) || opening.has(key)) continue;
      log.warn("a container is gone or stopped and is started again", { service: nameOf(instance) });
      const again = await ensure(key, instance, entry, network === null ? endpoint.port : null);
      if (!again.ok) {
        log.error("it could not be started", { reason: again.error.message });
        continue;
      }
      const still = wanted.get(key);
      if (still === undefined) {
        await endUnwanted(instance.tenantId);
        continue;
      }
      still.endpoint = again.value;
      if (again.value.port !== endpoint.port) options.onMoved(instance.tenantId);
    }
  };
  const watch = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await sleep(LIMITS.containersWatchMs, undefined, { ref: false, signal: over.signal }).catch(() => undefined);
      if (over.signal.aborted) return;
      await heal().catch((error: unknown) =>
        log.error("containers could not be looked after", {
          error: error instanceof Error ? error.message : String(error),
        }),
      );
    }
  };
  const watching = watch();

  return {
    async ensure(instance) {
      const entry = entryOf(instance);
      if (entry === undefined) return err(`this node's catalogue has no ${described(instance)}`);
      const key = keyOf(instance);
      const found = wanted.get(key);
      if (found !== undefined) return ok(found.endpoint);
      const under = opening.get(key);
      if (under !== undefined) return under;
      const opened = open(key, instance, entry).finally(() => opening.delete(key));
      opening.set(key, opened);
      return opened;
    },
    healthy: (instance, signal) => untilHealthy(instance, () => wanted.get(keyOf(instance))?.endpoint ?? null, signal),
    async keepOnly(tenantId, instances) {
      const keep = new Set(instances.map(keyOf));
      for (const [key, { instance }] of wanted) {
        if (instance.tenantId === tenantId && !keep.has(key)) wanted.delete(key);
      }
      await endUnwanted(tenantId);
    },
    async endStrays(tenantIds) {
      const found = await find();
      if (!found.ok) return log.warn("the engine could not be asked for leftovers", { reason: found.error.message });
      await endAll(found.value.filter(({ Labels }) => !tenantIds.has(Labels[LABEL.tenant] ?? "")));
    },
    running: () =>
      [...wanted.values()].map(({ instance, endpoint }) => ({
        name: nameOf(instance),
        pid: null,
        port: endpoint.port,
      })),
    async close(end) {
      over.abort();
      await watching;
      const found = end ? await find() : ok([]);
      if (found.ok) await endAll(found.value);
      await engine.close();
    },
  };
}

/** "restarting" is the engine's business: it waits before it starts it again. */
const isUp = ({ State }: Container): boolean => State === "running" || State === "restarting";

/** Labels are ours, but a path made of them is checked all the same. */
const isKey = (text: string): boolean => /^[A-Za-z0-9][\w-]*(?:\/[A-Za-z0-9][\w-]*){3}$/.test(text);

function ownerOf({ user }: CatalogueImage): { uid: number; gid: number } | null {
  if (user === undefined) return null;
  const [uid = "0", gid = uid] = user.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}
