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
import { setTimeout as delay } from "node:timers/promises";
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

/** Prints whole new lines of these logs as they come, until `signal`. A log that was cut is read on from its start. */
export async function followLogs(
  logs: string,
  parts: readonly string[],
  print: (part: string, lines: readonly string[]) => void,
  pollMs: number,
  signal: AbortSignal,
): Promise<void> {
  const size = (part: string) => (existsSync(logPath(logs, part)) ? statSync(logPath(logs, part)).size : 0);
  const seen = new Map(parts.map((part) => [part, { at: size(part), rest: "" }]));
  while (!signal.aborted) {
    await delay(pollMs, undefined, { signal }).catch(() => {});
    for (const [part, state] of seen) {
      const now = size(part);
      if (now < state.at) state.at = 0;
      if (now === state.at) continue;
      const lines = (state.rest + readRange(logPath(logs, part), state.at, now)).split("\n");
      state.rest = lines.pop() ?? "";
      state.at = now;
      print(part, lines);
    }
  }
}

function readRange(path: string, from: number, to: number): string {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(to - from);
    return buffer.toString("utf8", 0, readSync(file, buffer, 0, buffer.length, from));
  } finally {
    closeSync(file);
  }
}
