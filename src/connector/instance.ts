import { readFileSync, writeFileSync } from "node:fs";
import { err, ok, type Result } from "../shared/result.ts";

/** Of one process at a site: a second process with the same id takes the first one's place, so each needs its own. */
const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const isInstanceId = (text: string): boolean => INSTANCE.test(text);

/**
 * The id stored in the file, or a new one that is then stored there, so that it survives a restart. An unwritable place (a read-only
 * mount) is an error with the id that can be used anyway.
 */
export function storedInstanceId(path: string, random: () => string): Result<string, { id: string; text: string }> {
  const stored = read(path);
  if (stored !== null) return ok(stored);
  const id = random();
  try {
    writeFileSync(path, `${id}\n`, { flag: "wx", mode: 0o600 });
    return ok(id);
  } catch (error) {
    // Another process may have been faster; what it wrote is the machine's id.
    const others = read(path);
    if (others !== null) return ok(others);
    return err({
      id,
      text: `the instance id can't be kept in ${path}: ${error instanceof Error ? error.message : ""}`,
    });
  }
}

function read(path: string): string | null {
  try {
    const text = readFileSync(path, "utf8").trim();
    return isInstanceId(text) ? text : null;
  } catch {
    return null;
  }
}
