import { defineCommand } from "citty";
import manifest from "../../package.json" with { type: "json" };
import type { AnyCommand } from "./frame/command.ts";

/** The `causeway` command. Each command's module is loaded when it is asked for (or listed in the help). */
export const { version } = manifest;

export const root: AnyCommand = defineCommand({
  meta: {
    name: "causeway",
    version,
    description: "A multi-tenant platform's front door and its way through other people's firewalls",
  },
  subCommands: {
    up: () => import("./commands/up.ts").then((module) => module.default),
    down: () => import("./commands/down.ts").then((module) => module.default),
    status: () => import("./commands/status.ts").then((module) => module.default),
    logs: () => import("./commands/logs.ts").then((module) => module.default),
    tenant: () => import("./commands/tenant.ts").then((module) => module.default),
    connector: () => import("./commands/connector.ts").then((module) => module.default),
    pairing: () => import("./commands/pairing.ts").then((module) => module.default),
    operation: () => import("./commands/operation.ts").then((module) => module.default),
    audit: () => import("./commands/audit.ts").then((module) => module.default),
    job: () => import("./commands/job.ts").then((module) => module.default),
    connect: () => import("./commands/connect.ts").then((module) => module.default),
    doctor: () => import("./commands/doctor.ts").then((module) => module.default),
    service: () => import("./commands/service.ts").then((module) => module.default),
    relay: () => import("./commands/relay.ts").then((module) => module.default),
    nodes: () => import("./commands/nodes.ts").then((module) => module.default),
    cluster: () => import("./commands/cluster.ts").then((module) => module.default),
    maintenance: () => import("./commands/maintenance.ts").then((module) => module.default),
    lanes: () => import("./commands/lanes.ts").then((module) => module.default),
    node: () => import("./commands/node.ts").then((module) => module.nodeCommand),
    migrate: () => import("./commands/migrate.ts").then((module) => module.default),
    token: () => import("./commands/token.ts").then((module) => module.default),
    keys: () => import("./commands/keys.ts").then((module) => module.default),
  },
});
