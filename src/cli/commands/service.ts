import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { isSea } from "node:sea";
import { defineCommand } from "citty";
import { CliError, EXIT } from "../frame/exit.ts";
import { createOutput } from "../frame/output.ts";
import { repeated } from "../frame/repeated.ts";
import { launchdPlan } from "../service/launchd.ts";
import type { ServicePlan, ServiceSpec } from "../service/plan.ts";
import { systemdPlan } from "../service/systemd.ts";
import { windowsPlan } from "../service/windows.ts";

const OWN_PLATFORM: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  linux: "systemd",
  darwin: "launchd",
  win32: "windows",
};
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.$\\@ -]{0,127}$/;

const PLATFORMS: string[] = ["systemd", "launchd", "windows"];
const common = {
  name: { type: "string" as const, default: "causeway-connector", description: "Name of the service" },
  platform: {
    type: "enum" as const,
    options: PLATFORMS,
    description: "Kind of service manager (default: this machine's)",
  },
  "dry-run": {
    type: "boolean" as const,
    default: false,
    description: "Print what would be written and run; change nothing",
  },
};

const install = defineCommand({
  meta: { name: "install", description: "Run the connector as a service of this machine, from the next moment on" },
  args: {
    config: { type: "string", description: "YAML file of causeway connect", valueHint: "FILE" },
    credentials: { type: "string", description: "Credentials file", valueHint: "FILE" },
    "secret-file": { type: "string", description: "File that holds a client secret", valueHint: "FILE" },
    url: { type: "string", description: "Address of the relay" },
    tenant: { type: "string", description: "Tenant, slug or slug@cluster" },
    connector: { type: "string", description: "Name of the connector" },
    target: { type: "string", description: "NAME=URL of a target; repeat it for more", valueHint: "NAME=URL" },
    ca: { type: "string", description: "PEM file of certificates to trust as well", valueHint: "FILE" },
    "health-port": { type: "string", description: "Serve /healthz, /readyz and /metrics on this loopback port" },
    user: { type: "string", description: "Run as this user (default: one that the system makes, or LocalService)" },
    ...common,
  },
  run({ args, rawArgs }) {
    const { credentials, "secret-file": secretFile } = args;
    if (credentials !== undefined && secretFile !== undefined) {
      throw new CliError(EXIT.usage, "name one of --credentials and --secret-file");
    }
    if (args.config === undefined && credentials === undefined && secretFile === undefined) {
      throw new CliError(EXIT.usage, "say what to run: --config FILE, --credentials FILE or --secret-file FILE");
    }
    if (args.user !== undefined && !USER.test(args.user)) throw new CliError(EXIT.usage, "this is not a user's name");
    const paths = [args.config, credentials, secretFile, args.ca].filter((path) => path !== undefined);
    const absent = args["dry-run"] ? undefined : paths.find((path) => !existsSync(path));
    if (absent !== undefined) throw new CliError(EXIT.usage, `there is no file ${absent}`);
    const plain = [
      ["--config", args.config === undefined ? undefined : resolve(args.config)],
      ["--url", args.url],
      ["--tenant", args.tenant],
      ["--connector", args.connector],
      ["--ca", args.ca === undefined ? undefined : resolve(args.ca)],
      ["--health-port", args["health-port"]],
      ...repeated(rawArgs, "target").map((target) => ["--target", target]),
    ].flatMap(([flag, value]) => (flag === undefined || value === undefined ? [] : [flag, value]));
    const named = credentials ?? secretFile;
    const flag = credentials === undefined ? "--secret-file" : "--credentials";
    const plan = planFor(args, {
      args: plain,
      credential: named === undefined ? null : { flag, file: resolve(named) },
      user: args.user ?? null,
    });
    if (args["dry-run"]) return describe(plan, plan.install);
    write(plan);
    for (const command of plan.install) run(command);
    createOutput(false).say(`The service ${args.name} runs. Its secret stays where it is; nothing of it was copied.`);
  },
});

const uninstall = defineCommand({
  meta: { name: "uninstall", description: "Stop the service and remove it; its configuration and credentials stay" },
  args: common,
  run({ args }) {
    const plan = planFor(args, { args: [], credential: null, user: null });
    const out = createOutput(false);
    if (args["dry-run"]) {
      for (const command of [...plan.uninstall, ["remove", plan.path], ...plan.afterRemoval])
        out.data({}, command.join(" "));
      return;
    }
    if (!existsSync(plan.path)) throw new CliError(EXIT.failed, `there is no service ${args.name} (${plan.path})`);
    for (const command of plan.uninstall) run(command);
    rmSync(plan.path, { force: true });
    for (const command of plan.afterRemoval) run(command);
  },
});

const status = defineCommand({
  meta: { name: "status", description: "What the service manager says about it" },
  args: common,
  run({ args }) {
    const plan = planFor(args, { args: [], credential: null, user: null });
    if (args["dry-run"]) return createOutput(false).data({}, plan.status.join(" "));
    run(plan.status);
  },
});

export default defineCommand({
  meta: { name: "service", description: "Run the connector as a service of this machine (systemd, launchd, Windows)" },
  subCommands: { install, uninstall, status },
});

function planFor(
  args: { readonly name: string; readonly platform?: string | undefined },
  what: Pick<ServiceSpec, "args" | "credential" | "user">,
): ServicePlan {
  if (!NAME.test(args.name)) throw new CliError(EXIT.usage, `"${args.name}" is not a service's name`);
  const script = process.argv[1];
  const program = isSea() || script === undefined ? [process.execPath] : [process.execPath, resolve(script)];
  const spec: ServiceSpec = { name: args.name, program, ...what };
  switch (args.platform ?? OWN_PLATFORM[process.platform] ?? "unknown") {
    case "systemd":
      return systemdPlan(spec);
    case "launchd":
      return launchdPlan(spec);
    case "windows":
      return windowsPlan(spec, process.env["ProgramData"] ?? "C:\\ProgramData");
    default:
      throw new CliError(EXIT.usage, "this system's services are not known", "Name --platform, and --dry-run to see.");
  }
}

function describe(plan: ServicePlan, commands: ServicePlan["install"]): void {
  const out = createOutput(false);
  out.say(`${plan.path}:`);
  out.data({}, plan.content.trimEnd());
  for (const command of commands) out.say(`then: ${command.join(" ")}`);
}

function write({ path, content, mode }: ServicePlan): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content, { mode });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    const hint = "Run it as root or Administrator, or print it with --dry-run and put it there yourself.";
    throw new CliError(EXIT.environment, `${path} can't be written (${code})`, hint);
  }
}

function run(command: readonly string[]): void {
  const [file = "", ...args] = command;
  const { status: code, error } = spawnSync(file, args, { stdio: "inherit" });
  if (error !== undefined) throw new CliError(EXIT.environment, `${file} can't be started: ${error.message}`);
  if (code !== 0) throw new CliError(EXIT.failed, `${command.join(" ")} ended with ${code ?? "a signal"}`);
}
