import { statSync } from "node:fs";
import { CONFIG_POLL_MS } from "./limits.ts";

/** Calls back when one of the files changes, comes or goes. Polling: it works on every file system, and finds a file that was replaced. */
export function watchFiles(files: () => readonly string[], changed: () => void): () => void {
  let seen = fingerprint(files());
  const timer = setInterval(() => {
    const now = fingerprint(files());
    if (now === seen) return;
    seen = now;
    changed();
  }, CONFIG_POLL_MS);
  return () => clearInterval(timer);
}

function fingerprint(files: readonly string[]): string {
  return files
    .map((file) => {
      const stat = statSync(file, { throwIfNoEntry: false });
      return stat === undefined ? "-" : `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
    })
    .join("|");
}
