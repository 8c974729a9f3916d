import { createHash } from "node:crypto";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import type { EnvoyPaths } from "./envoy/static.ts";

/** Two places for an Envoy process: while one takes over from the other, both run. */
export type Slot = "a" | "b";
export interface SlotPaths {
  /** Process record and log. */
  readonly dir: string;
  readonly bootstrap: string;
  readonly command: string;
  /** Where the agent serves the Envoy in this slot. */
  readonly xdsSocket: string;
}

/** Where the agent keeps what, below its state directory (docs/storage.md, "Node agent"). */
export interface AgentPaths {
  readonly lock: string;
  readonly store: string;
  readonly services: string;
  /** Secrets of containers. */
  readonly containers: string;
  /** Envoy's files, log and process record. */
  readonly envoy: string;
  readonly slots: Readonly<Record<Slot, SlotPaths>>;
  readonly slotsFile: string;
  readonly envoyPaths: EnvoyPaths;
}

/** A Unix socket's path may have 104 bytes on macOS and 108 on Linux, its end included. */
const SOCKET_PATH_BYTES = 103;

export function agentPaths(stateDir: string): AgentPaths {
  const envoy = join(stateDir, "envoy");
  const run = socketDir(stateDir);
  return {
    lock: join(stateDir, "agent.lock"),
    store: join(stateDir, "store"),
    services: join(stateDir, "services"),
    containers: join(stateDir, "containers"),
    envoy,
    slots: { a: slot(envoy, join(run, "xds.sock")), b: slot(join(envoy, "b"), join(run, "xds-b.sock")) },
    slotsFile: join(envoy, "slots.json"),
    envoyPaths: {
      xdsSocket: join(run, "xds.sock"),
      probeSocket: join(run, "probe.sock"),
      tunnelSocket: join(run, "mqtt.sock"),
      gateSocket: join(run, "gate.sock"),
      listenersDir: join(envoy, "listeners"),
      filtersDir: join(envoy, "filters"),
      secretsDir: join(envoy, "secrets"),
    },
  };
}

const slot = (dir: string, xdsSocket: string): SlotPaths => ({
  dir,
  bootstrap: join(dir, "bootstrap.json"),
  command: join(dir, "command.json"),
  xdsSocket,
});

/** Beside the rest, or, where that path is too long for a socket, a directory of this user's in the temporary directory. */
function socketDir(stateDir: string): string {
  const beside = join(stateDir, "run");
  if (Buffer.byteLength(join(beside, "probe.sock")) <= SOCKET_PATH_BYTES) return beside;
  const name = createHash("sha256").update(`${userInfo().uid}:${stateDir}`).digest("hex").slice(0, 16);
  return join(tmpdir(), `causeway-node-${name}`);
}
