import { createHash } from "node:crypto";
import { nameOf, ownEnvironment } from "../instance.ts";
import type { ServiceInstance } from "../service-driver.ts";

/** An image of the node operator's own catalogue (agent configuration). The control plane can only name the entry. */
export interface CatalogueImage {
  /** With a tag or digest. */
  readonly image: string;
  /** Where the service listens inside; it gets it as PORT. */
  readonly port: number;
  /** Instead of the image's own command. */
  readonly command?: readonly string[] | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Numeric `uid:gid` that it runs as; without it, what the image says. */
  readonly user?: string | undefined;
  readonly memoryMib: number;
  readonly cpus: number;
  readonly processes: number;
  /** Its root file system can't be written to (`/tmp` can, in memory). */
  readonly readOnly: boolean;
  /** Directory inside that is kept for the tenant, in a volume of its own, whatever becomes of the container. */
  readonly data?: string | undefined;
  readonly pull: "missing" | "always" | "never";
}

/** Body of `POST /containers/create`, as far as we use it. */
export interface ContainerSpec {
  readonly Image: string;
  readonly Cmd?: readonly string[];
  readonly User?: string;
  readonly Env: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
  readonly ExposedPorts: Readonly<Record<string, object>>;
  readonly HostConfig: object;
}

export const LABEL = {
  node: "causeway.node",
  tenant: "causeway.tenant",
  instance: "causeway.instance",
  service: "causeway.service",
  /** Of the host, on loopback; "0" where the container is reached by a network of the engine. */
  port: "causeway.port",
} as const;

const SECRETS_INSIDE = "/run/causeway/secrets";
const MIB = 1024 * 1024;

export interface Placement {
  /** Of `instance.ts`. */
  readonly key: string;
  readonly nodeId: string;
  readonly node: string;
  /** On the engine's machine. */
  readonly secretsDir: string;
  /** Port of the host's loopback; null: reached by `network`. */
  readonly hostPort: number | null;
  readonly network: string | null;
}

/** Same for the same key and node, so that two agents of one node can't make two. Also its name in the engine's DNS, thus below 64 characters. */
export const containerName = (nodeId: string, key: string): string =>
  `causeway-${createHash("sha256").update(`${nodeId}/${key}`).digest("hex").slice(0, 32)}`;

/**
 * How a tenant's container is made: without capabilities or new privileges, with bounds on memory, CPU, processes and log; nothing of the host
 * but its secrets, read only. The engine starts it again when it dies, with growing pauses, and after its own restart.
 */
export function containerSpec(instance: ServiceInstance, entry: CatalogueImage, placement: Placement): ContainerSpec {
  const { key, nodeId, node, secretsDir, hostPort, network } = placement;
  const own = ownEnvironment(instance, node, entry.port, SECRETS_INSIDE);
  const inside = `${entry.port}/tcp`;
  const volume = `causeway-${instance.tenantId}-${instance.workspace}-${instance.service}`;
  return {
    Image: entry.image,
    ...(entry.command === undefined ? {} : { Cmd: entry.command }),
    ...(entry.user === undefined ? {} : { User: entry.user }),
    Env: Object.entries({ ...entry.env, ...own }).map(([name, value]) => `${name}=${value}`),
    Labels: {
      [LABEL.node]: nodeId,
      [LABEL.tenant]: instance.tenantId,
      [LABEL.service]: nameOf(instance),
      [LABEL.instance]: key,
      [LABEL.port]: String(hostPort ?? 0),
    },
    ExposedPorts: { [inside]: {} },
    HostConfig: {
      Init: true,
      RestartPolicy: { Name: "unless-stopped" },
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      Memory: entry.memoryMib * MIB,
      MemorySwap: entry.memoryMib * MIB, // with the memory: no swap
      NanoCpus: Math.round(entry.cpus * 1e9),
      PidsLimit: entry.processes,
      ReadonlyRootfs: entry.readOnly,
      ...(entry.readOnly ? { Tmpfs: { "/tmp": "rw,noexec,nosuid,size=64m" } } : {}),
      LogConfig: { Type: "json-file", Config: { "max-size": "4m", "max-file": "2" } },
      Mounts: [
        { Type: "bind", Source: secretsDir, Target: SECRETS_INSIDE, ReadOnly: true },
        ...(entry.data === undefined ? [] : [{ Type: "volume", Source: volume, Target: entry.data }]),
      ],
      ...(hostPort === null
        ? {}
        : { PortBindings: { [inside]: [{ HostIp: "127.0.0.1", HostPort: String(hostPort) }] } }),
      ...(network === null ? {} : { NetworkMode: network }),
    },
  };
}
