import type { NodeTenant } from "../protocol/node-channel.ts";

/** Names of what the node's operator lets tenants' services be. */
export interface Catalogue {
  readonly commands: ReadonlySet<string>;
  readonly images: ReadonlySet<string>;
  /** A master serves fronts, and nothing else does. */
  readonly isMaster: boolean;
}

/** What the agent refuses before anything is started: a sentence, or null when the tenant can be served. `ownerOf` tells who holds a host on this node. */
export function checkTenant(
  tenant: NodeTenant,
  { commands, images, isMaster }: Catalogue,
  ownerOf: (host: string) => string | undefined,
): string | null {
  if (isMaster && (tenant.front === undefined || tenant.services.length + tenant.routes.length > 0))
    return "this is a master: it runs no services, and takes open routes only";
  if (!isMaster && tenant.front !== undefined) return "this is a node, no master";
  const services = new Set<string>();
  const instances = new Set<string>();
  const brokers = new Set(tenant.services.flatMap(({ name, protocol }) => (protocol === "mqtt" ? [name] : [])));
  if (brokers.size > 1) return `a tenant has one MQTT service, not ${brokers.size}`;
  for (const { name, workspace, driver } of tenant.services) {
    if (!isPathPart(workspace)) return `workspace "${workspace.slice(0, 64)}" of service ${name} is not a valid name`;
    if (instances.has(`${workspace}/${name}`)) return `service ${name} is there twice in workspace ${workspace}`;
    instances.add(`${workspace}/${name}`);
    services.add(name);
    if (driver.kind === "process" && !commands.has(driver.command)) {
      return `this node's catalogue has no command "${driver.command}" for service ${name}`;
    }
    if (driver.kind === "docker" && !images.has(driver.image)) {
      return `this node's catalogue has no image "${driver.image}" for service ${name}`;
    }
  }
  const prefixes = new Set<string>();
  for (const { prefix, service } of tenant.routes) {
    if (!services.has(service)) return `route ${prefix} names service ${service}, which the tenant does not have`;
    if (brokers.has(service)) return `route ${prefix} names service ${service}, which speaks MQTT`;
    if (prefixes.has(prefix)) return `route ${prefix} is there twice`;
    prefixes.add(prefix);
  }
  for (const host of tenant.hosts) {
    const owner = ownerOf(host.toLowerCase());
    if (owner !== undefined && owner !== tenant.tenantId) return `host ${host} belongs to another tenant of this node`;
  }
  return null;
}

/** Names become directories of the agent's state. */
export const isPathPart = (text: string): boolean => /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(text);
