import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { INSTANCES_PER_FILE } from "./limits.ts";
import { err, ok, type Result } from "../shared/result.ts";

/** Of one process at a site: a second process with the same id takes the first one's place, so each needs its own. */
const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const isInstanceId = (text: string): boolean => INSTANCE.test(text);

/** Who holds a stored id: a word for this process, and whether the process that such a word names still runs. */
export interface Holders {
  readonly self: string;
  runs(holder: string): boolean;
}

/**
 * A stored id that no running process holds, so that ids survive restarts and several processes may share one credentials file: the id in
 * `path`, else the one in `path.2`, and so on; a missing one is made. Held by a `.lock` file beside it, which a process that is gone does
 * not hold any more. An unwritable place (a read-only mount) is an error with an id that can be used anyway.
 *
 * Two processes that find the same stale lock in the same instant may both take it; the relay then replaces one, which says so.
 */
export function claimInstanceId(
  path: string,
  random: () => string,
  holders: Holders = systemHolders,
): Result<string, { id: string; text: string }> {
  try {
    for (let number = 1; number <= INSTANCES_PER_FILE; number++) {
      const slot = number === 1 ? path : `${path}.${number}`;
      if (claim(`${slot}.lock`, holders)) return ok(storedIn(slot, random));
    }
    return err({ id: random(), text: `${INSTANCES_PER_FILE} processes hold the instance ids beside ${path}` });
  } catch (error) {
    const text = `the instance id can't be kept in ${path}: ${error instanceof Error ? error.message : ""}`;
    return err({ id: read(path) ?? random(), text });
  }
}

function claim(lock: string, holders: Holders): boolean {
  try {
    writeFileSync(lock, holders.self, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if (!isExists(error)) throw error;
  }
  const holder = readFileSync(lock, "utf8");
  if (holder === holders.self) return true;
  if (holders.runs(holder)) return false;
  rmSync(lock, { force: true });
  try {
    writeFileSync(lock, holders.self, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if (isExists(error)) return false;
    throw error;
  }
}

function storedIn(slot: string, random: () => string): string {
  const stored = read(slot);
  if (stored !== null) return stored;
  const id = random();
  writeFileSync(slot, `${id}\n`, { flag: "wx", mode: 0o600 });
  return id;
}

function read(path: string): string | null {
  try {
    const text = readFileSync(path, "utf8").trim();
    return isInstanceId(text) ? text : null;
  } catch {
    return null;
  }
}

const isExists = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "EEXIST";

/** Process id and, where the system tells it, start time: a process id alone may be somebody else's after a reboot. */
const holderOf = (pid: number): string => `${pid} ${startTimeOf(pid)}`;

function startTimeOf(pid: number): string {
  try {
    // proc_pid_stat(5): field 22; the command in field 2 may contain spaces and parentheses.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

const systemHolders: Holders = {
  self: holderOf(process.pid),
  runs(holder) {
    const pid = Number.parseInt(holder, 10);
    if (!Number.isSafeInteger(pid) || pid <= 0) return false;
    try {
      process.kill(pid, 0);
    } catch (error) {
      // EPERM: it runs, as somebody else.
      if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return false;
    }
    return holderOf(pid) === holder;
  },
};
