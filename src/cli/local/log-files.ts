import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { LOG_MAX_BYTES, LOG_TAIL_BYTES } from "../limits.ts";

export const logPath = (logs: string, part: string): string => join(logs, `${part}.log`);

/** Names of the parts that have a log, sorted. */
export function loggedParts(logs: string): string[] {
  if (!existsSync(logs)) return [];
  return readdirSync(logs)
    .filter((name) => name.endsWith(".log"))
    .map((name) => name.slice(0, -".log".length))
    .sort();
}

/** The last `lines` lines of a file, oldest first; empty when there is none. Reads the file's end only. */
export function lastLines(path: string, lines: number): string[] {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return [];
  }
  try {
    const { size } = fstatSync(file);
    const length = Math.min(size, LOG_TAIL_BYTES);
    const buffer = Buffer.alloc(length);
    const read = readSync(file, buffer, 0, length, size - length);
    const all = buffer.toString("utf8", 0, read).split("\n");
    if (length < size) all.shift(); // A line that began before the part that was read.
    if (all.at(-1) === "") all.pop();
    return all.slice(-lines);
  } finally {
    closeSync(file);
  }
}

/** Cuts a log that has grown too long to its newer half, in place: the process that appends to it keeps its file. */
export function trimLog(path: string, maxBytes = LOG_MAX_BYTES): void {
  if (!existsSync(path) || statSync(path).size <= maxBytes) return;
  const content = readFileSync(path);
  const newer = content.subarray(content.length - Math.floor(maxBytes / 2));
  writeFileSync(path, newer.subarray(newer.indexOf(0x0a) + 1));
}
