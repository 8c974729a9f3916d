import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";
import { err, ok, type Result } from "../shared/result.ts";
import { processStart } from "./services/processes.ts";

const holder = z.object({ pid: z.number().int().positive(), startedAt: z.string() });

/** Pid of the live process that holds the lock file, or null. */
export function lockHolder(path: string): number | null {
  try {
    const { pid, startedAt } = holder.parse(JSON.parse(readFileSync(path, "utf8")));
    return processStart(pid) === startedAt ? pid : null;
  } catch {
    return null;
  }
}

/** One agent a state directory: two would fight over Envoy and the services. A dead holder's lock is taken over. Returns how to let go. */
export function takeLock(path: string): Result<() => void, number> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const other = lockHolder(path);
  if (other !== null && other !== process.pid) return err(other);
  writeFileSync(path, JSON.stringify({ pid: process.pid, startedAt: processStart(process.pid) ?? "" }), {
    mode: 0o600,
  });
  return ok(() => rmSync(path, { force: true }));
}
