import { stderr, stdout } from "node:process";

/** What a command prints: data to stdout (for people or, with --json, one JSON object a line), talk to stderr. */
export interface Output {
  readonly json: boolean;
  /** One record. People see `text`, programs the object on a line of its own. */
  data(record: object, text: string): void;
  /** Talk: progress, hints, warnings. Never parsed by anybody. */
  say(text: string): void;
}

export function createOutput(
  json: boolean,
  write: (text: string) => void = (text) => stdout.write(text),
  talk: (text: string) => void = (text) => stderr.write(text),
): Output {
  return {
    json,
    data: (record, text) => write(json ? `${JSON.stringify(record)}\n` : `${harmless(text)}\n`),
    say: (text) => talk(`${harmless(text)}\n`),
  };
}

/**
 * Reasons, names and log lines come from nodes, services and sites, which may not be friends: nothing of theirs may steer an operator's
 * terminal. Escapes and other control characters are shown as signs, but for tab and line feed.
 */
// oxlint-disable-next-line no-control-regex -- these are what it is about
const harmless = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd");

/** Left-aligned columns, two spaces apart; the last one is not padded. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all
    .map((row) =>
      row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join("  "),
    )
    .join("\n");
}
