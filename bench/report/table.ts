import type { RatioRow, Row, ScenarioReport } from "../core/run-scenario.ts";
import type { Summary } from "../core/statistics.ts";
import type { Column } from "../core/types.ts";

/**
 * A scenario's report as text: per variant one table with a line per path, then the ratios. Values are medians with their spread
 * ("±4%": half the range, as a share of the median); "n/a" is a number that could not be had, "" one that the path has not.
 */
export function scenarioTable(report: ScenarioReport): string {
  const variants = [...new Set(report.rows.map((row) => row.variant))];
  const blocks = variants.map((variant) => {
    const rows = report.rows.filter((row) => row.variant === variant);
    const ratios = report.ratios.filter((row) => row.variant === variant);
    return [table(variant, report.columns, rows), ...ratioLines(report.columns, ratios)].join("\n");
  });
  const legend = [...new Map(report.rows.map((row) => [row.path, row.title]))].map(
    ([key, title]) => `  ${key}: ${title}`,
  );
  return [`${report.scenario}: ${report.title}`, ...legend, "", blocks.join("\n\n"), ""].join("\n");
}

function table(variant: string, columns: readonly Column[], rows: readonly Row[]): string {
  const used = columns.filter((column) => rows.some((row) => column.key in (row.samples[0] ?? {})));
  const lines = [
    [variant, ...used.map((column) => column.title)],
    ...rows.map((row) => [row.path, ...used.map((column) => cell(column, row))]),
  ];
  const widths = [variant, ...used].map((_, index) => Math.max(...lines.map((line) => (line[index] ?? "").length)));
  return lines
    .map((line) =>
      line.map((text, i) => (i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0))).join("  "),
    )
    .join("\n");
}

function cell(column: Column, row: Row): string {
  if (!(column.key in (row.samples[0] ?? {}))) return "";
  const summary = row.summary[column.key] ?? null;
  if (summary === null) return "n/a";
  if (column.over === "median") return `${number(summary.median, column.digits)} ${plusMinus(summary)}`;
  return number(
    row.samples.reduce((sum, sample) => sum + (sample[column.key] ?? 0), 0),
    column.digits,
  );
}

/** One line per pair of paths, all its columns on it; a ratio that could not be had is left out. */
function ratioLines(columns: readonly Column[], ratios: readonly RatioRow[]): string[] {
  const pairs = new Map<string, string[]>();
  for (const { of, to, column, ratio } of ratios) {
    if (ratio === null) continue;
    const title = columns.find(({ key }) => key === column)?.title ?? column;
    const pair = `${of} / ${to}`;
    const text = `${title} ${number(ratio.median * 100, 0)} % ${plusMinus(ratio).trim()}`;
    pairs.set(pair, [...(pairs.get(pair) ?? []), text]);
  }
  return [...pairs].map(([pair, texts]) => `  ${pair}: ${texts.join(", ")}`);
}

const plusMinus = (summary: Summary): string => `±${number(summary.spread * 100, 0)}%`.padStart(5);

const number = (value: number, digits: number): string =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
