import { lstatSync, mkdirSync } from "node:fs";
import process from "node:process";
import { err, ok, type Result } from "../shared/result.ts";

/**
 * Makes the directory of the agent's sockets. In the temporary directory (see agentPaths) its name can be guessed: whoever made it first, or
 * may write to it, could put a socket of their own where Envoy asks for its configuration. Such a one is refused, by a sentence.
 */
export function takeSocketDir(dir: string, uid = process.getuid?.()): Result<void, string> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const found = lstatSync(dir);
  const isOurs = found.isDirectory() && (uid === undefined || found.uid === uid) && (found.mode & 0o022) === 0;
  if (isOurs) return ok(undefined);
  return err(`${dir} (for sockets) is not this user's alone: remove it, or take a stateDir with a shorter path`);
}
