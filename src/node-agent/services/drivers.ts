import type { Logger } from "../../shared/log.ts";
import { err } from "../../shared/result.ts";
import type { AgentConfig, NodeCredentials } from "../config.ts";
import { agentPaths, type AgentPaths } from "../paths.ts";
import { createDockerDriver } from "./docker/docker-driver.ts";
import { createEngine } from "./docker/engine.ts";
import { registryLogin } from "./docker/registry-login.ts";
import { createProcessDriver } from "./process-driver.ts";
import type { RunBy, ServiceDriver, ServiceInstance } from "./service-driver.ts";

/** The drivers that a node's configuration has, as one. */
export function openDrivers(
  config: AgentConfig,
  { nodeId, node }: NodeCredentials,
  paths: AgentPaths,
  log: Logger,
  onMoved: (tenantId: string) => void,
): ServiceDriver {
  const { commands, images, docker, servicePorts: ports } = config;
  const common = { node, ports, random: Math.random, log, onMoved };
  return combineDrivers({
    process: createProcessDriver({ ...common, dir: paths.services, catalogue: new Map(Object.entries(commands)) }),
    docker:
      docker === null
        ? null
        : createDockerDriver({
            ...common,
            engine: createEngine(docker.socketPath),
            dir: paths.containers,
            dirOnHost: docker.stateDirOnHost === null ? paths.containers : agentPaths(docker.stateDirOnHost).containers,
            nodeId,
            catalogue: new Map(Object.entries(images)),
            network: docker.network,
            loginFor: (image) => registryLogin(image, docker.registries),
          }),
  });
}

/** One driver out of those that this node has: each instance goes to the one of its kind. */
function combineDrivers(drivers: Readonly<Record<RunBy["kind"], ServiceDriver | null>>): ServiceDriver {
  const kinds = ["process", "docker"] as const;
  const present = kinds.flatMap((kind) => drivers[kind] ?? []);
  const missing = ({ driver: { kind } }: ServiceInstance) => err(`this node has no driver for ${kind} services`);
  return {
    ensure: async (instance) => drivers[instance.driver.kind]?.ensure(instance) ?? missing(instance),
    healthy: async (instance, signal) => drivers[instance.driver.kind]?.healthy(instance, signal) ?? missing(instance),
    async keepOnly(tenantId, instances) {
      const of = (kind: RunBy["kind"]) => instances.filter(({ driver }) => driver.kind === kind);
      await Promise.all(kinds.map(async (kind) => drivers[kind]?.keepOnly(tenantId, of(kind))));
    },
    endStrays: async (tenantIds) => void (await Promise.all(present.map((driver) => driver.endStrays(tenantIds)))),
    running: () => present.flatMap((driver) => driver.running()),
    close: async (end) => void (await Promise.all(present.map((driver) => driver.close(end)))),
  };
}
