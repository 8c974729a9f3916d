import { createHash } from "node:crypto";
import { chownSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import type { AgentFile } from "../../node-agent/main.ts";
import { AGENT_STATE_DIR } from "../build/containers.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import type { NodeName, PortName } from "./context.ts";
import { writeFileAtomic } from "./files.ts";

/** What `causeway up --upstream compose` writes for local-stack/compose.yaml, in a folder that only its owner may enter. */
export interface ComposePaths {
  readonly stateDir: string;
  readonly dir: string;
  /** Ports and paths; no secrets. Its presence says that this stack's data are in containers' volumes. */
  readonly env: string;
  /** Keys, passwords and agents' configurations, each mounted into the container that needs it. */
  readonly files: string;
  /** The images' build contexts. */
  readonly contexts: string;
}

export function composePaths(stateDir: string): ComposePaths {
  const dir = join(stateDir, "compose");
  return { stateDir, dir, env: join(dir, ".env"), files: join(dir, "files"), contexts: join(dir, "contexts") };
}

/** Stacks in different folders are different projects: containers, volumes and images of their own. */
export const projectName = (stateDir: string): string =>
  `causeway-${createHash("sha256").update(stateDir).digest("hex").slice(0, 8)}`;

/** Containers run as whoever started the stack, so that they can read the files; for root as uid 1000, as the images do by themselves. */
const ROOTS_STAND_IN = 1000;
export function containerUser(
  uid = process.getuid?.() ?? 0,
  gid = process.getgid?.() ?? 0,
): { uid: number; gid: number } {
  return uid === 0 ? { uid: ROOTS_STAND_IN, gid: ROOTS_STAND_IN } : { uid, gid };
}

/** Other images (a mirror, a pinned digest) by the environment. */
const IMAGE_VARIABLES = ["CAUSEWAY_NODE_IMAGE", "CAUSEWAY_POSTGRES_IMAGE", "CAUSEWAY_ENVOY_IMAGE"] as const;

/** The project's `.env`. */
export function renderEnv(
  paths: ComposePaths,
  stack: { readonly relayUrl: string; readonly port: (name: PortName) => number },
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const { relayUrl, port } = stack;
  const { uid, gid } = containerUser();
  const images = IMAGE_VARIABLES.flatMap((name) => {
    const value = environment[name];
    return value === undefined || value === "" ? [] : [[name, value] as const];
  });
  const values: (readonly [string, string | number])[] = [
    ["COMPOSE_PROJECT_NAME", projectName(paths.stateDir)],
    ["CAUSEWAY_FILES", paths.files],
    ["CAUSEWAY_CONTEXTS", paths.contexts],
    ["CAUSEWAY_UID", uid],
    ["CAUSEWAY_GID", gid],
    ...images,
    ["CAUSEWAY_RELAY_URL", relayUrl],
    ["CAUSEWAY_POSTGRES_PORT", port("postgres")],
    ["CAUSEWAY_TARGET_PORT", port("target-demo")],
    ["CAUSEWAY_WALTER_WHITE_ADMIN_PORT", port("admin-walter-white")],
    ["CAUSEWAY_WALTER_WHITE_HEALTH_PORT", port("health-walter-white")],
    ["CAUSEWAY_HANK_SCHRADER_ADMIN_PORT", port("admin-hank-schrader")],
    ["CAUSEWAY_HANK_SCHRADER_HEALTH_PORT", port("health-hank-schrader")],
    ["CAUSEWAY_PLANT_1_A_HEALTH_PORT", port("health-plant-1-a")],
    ["CAUSEWAY_PLANT_1_B_HEALTH_PORT", port("health-plant-1-b")],
  ];
  return [
    "# Made by causeway up --upstream compose at every start. Demo, not for production.",
    ...values.map(([name, value]) => `${name}=${quoted(String(value))}`),
    "",
  ].join("\n");
}

/** Single quotes are the one form that both compose clients take literally, and neither agrees with the other on a quote inside. */
function quoted(value: string): string {
  if (/^[\w./:@-]*$/.test(value)) return value;
  if (!/['\n\r]/.test(value)) return `'${value}'`;
  throw new CliError(EXIT.usage, `compose can't work with a quote in a path: ${value}`, "Take another --state-dir.");
}

/** The agent's configuration as its container sees it. */
export function agentFileInContainer(name: NodeName, port: (name: PortName) => number): AgentFile {
  return {
    stateDir: AGENT_STATE_DIR,
    credentialsFile: "/run/secrets/node.json",
    envoy: { binary: null, port: port(`envoy-${name}`), adminPort: port(`admin-${name}`) },
    healthPort: port(`health-${name}`),
    commands: { "demo-service": { argv: ["node", "/opt/demo/service.mjs"] } },
    // They live in the agent's container and would end with it in any case; this way they end by a signal.
    stopServices: true,
  };
}

/** Writes a file that a container reads, mode 0600, for the containers' user. */
export function handOver(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileAtomic(path, text);
  const { uid, gid } = containerUser();
  if (process.getuid?.() === 0) chownSync(path, uid, gid);
}
