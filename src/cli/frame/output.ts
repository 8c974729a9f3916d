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
    data: (record, text) => write(json ? `${JSON.stringify(record)}\n` : `${text}\n`),
    say: (text) => talk(`${text}\n`),
  };
}

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
