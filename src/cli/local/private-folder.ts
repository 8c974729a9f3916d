import { chmodSync, existsSync, mkdirSync } from "node:fs";
import process from "node:process";
import { composePaths } from "./compose-files.ts";
import type { StatePaths } from "./paths.ts";

/**
 * Closes the state folder to other users: what this process and its children write from now on, by their umask, and what an earlier
 * version left open, by its folders' modes. Databases of the Workers, logs and builds hold secrets as much as secrets.json does, and most
 * of them are written by programs that take no mode.
 */
export function keepPrivate(paths: StatePaths): void {
  process.umask(0o077);
  mkdirSync(paths.logs, { recursive: true });
  const below = [paths.logs, paths.workers, paths.build, paths.nodes, paths.connectors, composePaths(paths.dir).dir];
  for (const folder of below) if (existsSync(folder)) chmodSync(folder, 0o700);
}

/** Postgres runs as a user of its own under root: it may pass through the folder to its data, and nobody may read the folder. */
export const letPass = (paths: StatePaths): void => chmodSync(paths.dir, 0o711);
export const letNobodyPass = (paths: StatePaths): void => chmodSync(paths.dir, 0o700);
