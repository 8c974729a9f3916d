import { enableCompileCache } from "node:module";
import process from "node:process";
import { defineCommand } from "citty";
import manifest from "../../package.json" with { type: "json" };
import { type AnyCommand, runCommandLine } from "./frame/command.ts";
import { EXIT } from "./frame/exit.ts";
import { COMPILE_CACHE } from "./local/paths.ts";

/** The `causeway` command. Each command's module is loaded when it is asked for (or listed in the help). */
// Commands start in half the time. Not for the bundle, which has no folder of its own to write to.
if (import.meta.filename.endsWith("main.ts")) enableCompileCache(COMPILE_CACHE);

const { version } = manifest;

const root: AnyCommand = defineCommand({
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
    connect: () => import("./commands/connect.ts").then((module) => module.default),
    migrate: () => import("./commands/migrate.ts").then((module) => module.default),
    keys: () => import("./commands/keys.ts").then((module) => module.default),
    node: () => import("./commands/node.ts").then((module) => module.nodeCommand),
    operation: () => import("./commands/operation.ts").then((module) => module.default),
  },
});

// `causeway logs | head` is no error.
process.stdout.on("error", (error) => {
  if ("code" in error && error.code === "EPIPE") process.exit(EXIT.ok);
  throw error;
});

const argv = process.argv.slice(2);
if (argv.length === 1 && (argv[0] === "--version" || argv[0] === "-v")) {
  process.stdout.write(`${version}\n`);
} else {
  process.exitCode = await runCommandLine(root, argv, {
    name: "causeway",
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    colour: process.stdout.isTTY,
  });
}
