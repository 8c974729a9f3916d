import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { err, ok, type Result } from "../shared/result.ts";
import { TARGETS_MAX } from "./limits.ts";
import { parsePushedTargets, type TargetConfig } from "./targets/target-config.ts";

/** What the control plane pushed last and this connector took; kept so that a restart needs no control plane. */
const keptConfig = z.object({
  /** Whose it is: another connector's file in the same place counts for nothing. */
  owner: z.string(),
  revision: z.number().int().nonnegative(),
  targetsJson: z
    .string()
    .max(64 * 1024)
    .nullable(),
  keepAliveMs: z.number().positive().nullable(),
  reconnectMaxMs: z.number().positive().nullable(),
});
export type KeptConfig = z.infer<typeof keptConfig>;

/** Null: none is kept, or it can't be read. Never an error: the relay pushes it again. */
export function readKept(path: string, owner: string): KeptConfig | null {
  try {
    const parsed = keptConfig.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return parsed.success && parsed.data.owner === owner ? parsed.data : null;
  } catch {
    return null;
  }
}

/** Whole or not at all: a crash leaves the old one. Answers what is wrong, or null. */
export function writeKept(path: string, config: KeptConfig): string | null {
  const fresh = `${path}.${process.pid}.new`;
  try {
    writeFileSync(fresh, `${JSON.stringify(config)}\n`, { mode: 0o600 });
    renameSync(fresh, path);
    return null;
  } catch (error) {
    rmSync(fresh, { force: true });
    return error instanceof Error ? error.message : String(error);
  }
}

/** Null: nothing is pushed. Errors name targets and settings, no values. */
export function pushedTargets(json: string | null): Result<readonly TargetConfig[], string> {
  if (json === null) return ok([]);
  const parsed = parsePushedTargets(json);
  if (parsed.ok && parsed.value.length > TARGETS_MAX) return err(`at most ${TARGETS_MAX} targets`);
  return parsed;
}

/** A name that this site's own settings have stays theirs. */
export function mergeTargets(
  own: readonly TargetConfig[],
  pushed: readonly TargetConfig[],
): { targets: readonly TargetConfig[]; shadowed: readonly string[] } {
  const names = new Set(own.map(({ name }) => name));
  const shadowed = pushed.filter(({ name }) => names.has(name)).map(({ name }) => name);
  return { targets: [...own, ...pushed.filter(({ name }) => !names.has(name))], shadowed };
}
