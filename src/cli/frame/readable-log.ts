import { z } from "zod";

const line = z.looseObject({ time: z.string(), level: z.string(), msg: z.string() });
const TEXT = z.union([z.string(), z.number(), z.boolean()]);

/** Lines of our log (JSON) as people read them on a terminal: time, level, message, fields. What is no line of ours stays as it is. */
export function readableLog(text: string): string {
  return text
    .split("\n")
    .map((one) => readable(one))
    .join("\n");
}

function readable(text: string): string {
  if (!text.startsWith("{")) return text;
  const found = line.safeParse(parsed(text));
  if (!found.success) return text;
  const { time, level, msg, part: _part, ...fields } = found.data;
  const words = Object.entries(fields).flatMap(([name, value]) => {
    const shown = TEXT.safeParse(value);
    return shown.success && shown.data !== "" ? [`${name}=${quoted(String(shown.data))}`] : [];
  });
  return [new Date(time).toTimeString().slice(0, 8), level.toUpperCase().padEnd(5), msg, ...words].join("  ");
}

const quoted = (text: string): string => (/^[\x21\x23-\x7e]+$/.test(text) ? text : JSON.stringify(text));

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Writes log lines to standard error: readable on a terminal, JSON for everything else. */
export const logToStderr = (text: string): void => {
  process.stderr.write(process.stderr.isTTY ? readableLog(text) : text);
};
