import { readFile } from "node:fs/promises";
import { platform } from "node:os";
import { z } from "zod";
import type { AgentConfig } from "../config.ts";
import type { SlotPaths } from "../paths.ts";
import type { Command } from "../services/recorded-process.ts";

/** How a slot's Envoy was started, apart from its turn among those that replace each other: on disk, to see whether another is wanted. */
const envoyCommand = z.object({
  binary: z.string(),
  flags: z.array(z.string()),
  /** Whether another can take over from it without a cut. */
  hotRestart: z.boolean(),
});
export type EnvoyCommand = z.infer<typeof envoyCommand>;

/** Envoy has hot restart on Linux only. */
const HOT_RESTART = platform() === "linux";

export function commandFor(binary: string, { concurrency, drainSeconds }: AgentConfig["envoy"]): EnvoyCommand {
  const threads = concurrency === null ? [] : ["--concurrency", String(concurrency)];
  // In the first half of the time idle clients are let go one after another; in the second half all are, with their next answer.
  const halfSeconds = Math.max(Math.floor(drainSeconds / 2), 1);
  const drain = ["--drain-time-s", String(halfSeconds), "--parent-shutdown-time-s", String(drainSeconds)];
  return {
    binary,
    flags: [
      "--reject-unknown-dynamic-fields",
      "--log-level",
      "warning",
      ...threads,
      ...(HOT_RESTART ? drain : ["--disable-hot-restart"]),
    ],
    hotRestart: HOT_RESTART,
  };
}

export const processOf = (
  { binary, flags, hotRestart }: EnvoyCommand,
  { bootstrap }: SlotPaths,
  turn: { readonly baseId: number; readonly epoch: number },
): Command => {
  const argv = [binary, "-c", bootstrap, ...flags];
  if (!hotRestart) return { argv, env: {} };
  // With hot restart Envoy has the system end it when its parent ends: it must not be the agent's child, or it would go with the agent.
  return {
    argv: [...argv, "--base-id", String(turn.baseId), "--restart-epoch", String(turn.epoch)],
    env: {},
    asOrphan: true,
  };
};

/** Null: none, or of an agent that knew no hot restart. */
export async function readCommand(file: string): Promise<EnvoyCommand | null> {
  try {
    return envoyCommand.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return null;
  }
}
