import type { Machine } from "../core/machine.ts";
import type { ScenarioReport } from "../core/run-scenario.ts";
import type { Settings } from "../core/types.ts";

/** When, where and with what a run took place. */
export interface ReportHead {
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: Settings;
}

export function headText(
  { startedAt, machine, versions, settings }: ReportHead,
  reports: readonly ScenarioReport[],
): string {
  const all = new Map([versions, ...reports.map((report) => report.versions)].flatMap((it) => Object.entries(it)));
  return [
    `${startedAt.slice(0, 16).replace("T", " ")} UTC, ${machine.cores} x ${machine.cpu}, ${machine.memoryGib} GiB, ${machine.system}, load ${machine.loadBefore}`,
    [...all].map(([name, version]) => (name === "load" ? `load by ${version}` : `${name} ${version}`)).join(", "),
    `median of ${settings.repeats} interleaved repeats of ${settings.secondsPerSlot} s; CPU in µs per request; ± is half the range`,
    "",
  ].join("\n");
}
