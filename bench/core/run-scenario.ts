import { setTimeout as delay } from "node:timers/promises";
import { pairedRatio, type Summary, summarize } from "./statistics.ts";
import { answersWell, BODY_BYTES, probe } from "./probe.ts";
import { CliError, EXIT } from "../../src/cli/frame/exit.ts";
import type { Column, Path, Sample, Scenario, Settings, Setup, Variant } from "./types.ts";

/** One row of the report: a path under one variant. */
export interface Row {
  readonly path: string;
  readonly title: string;
  readonly kind: Path["kind"];
  readonly variant: string;
  /** By repeat. */
  readonly samples: readonly Sample[];
  readonly summary: Readonly<Record<string, Summary | null>>;
}

export interface RatioRow {
  readonly of: string;
  readonly to: string;
  readonly variant: string;
  /** Key of the column. */
  readonly column: string;
  readonly ratio: Summary | null;
}

export interface ScenarioReport {
  readonly scenario: string;
  readonly title: string;
  readonly measurement: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  readonly ratios: readonly RatioRow[];
}

/** A tunnel that has been started is waited for this long. */
const COME_UP_MS = 15_000;
/** Warm-up of each path. Not counted. */
const WARM_UP_SECONDS = 2;

interface Slot {
  readonly path: Path;
  readonly variant: Variant;
}

/**
 * The order of a run: repeat by repeat everything once, so that a disturbance hits all paths alike; each repeat begins with another
 * path, so that none is always measured right after the same neighbour.
 */
export function slotOrder(paths: readonly Path[], variants: readonly Variant[], repeats: number): readonly Slot[][] {
  return Array.from({ length: repeats }, (_, repeat) => {
    const first = paths.length === 0 ? 0 : repeat % paths.length;
    const rotated = [...paths.slice(first), ...paths.slice(0, first)];
    return variants.flatMap((variant) => rotated.map((path) => ({ path, variant })));
  });
}

/** Starts the scenario's world, measures all its paths, and stops it again, whatever happens. */
export async function runScenario(
  scenario: Scenario,
  settings: Settings,
  context: { readonly folder: string; readonly progress: (line: string) => void; readonly signal: AbortSignal },
): Promise<ScenarioReport> {
  const { progress, signal } = context;
  progress(`${scenario.name}: starting`);
  const isWanted = (key: string): boolean => settings.paths?.includes(key) ?? true;
  const started = await scenario.start(context.folder, isWanted);
  const setup = { ...started, paths: started.paths.filter(({ key }) => isWanted(key)) };
  try {
    await checkPaths(setup);
    return await measure(scenario, settings, setup, progress, signal);
  } finally {
    await setup.stop();
  }
}

async function checkPaths(setup: Setup): Promise<void> {
  for (const path of setup.paths) {
    const until = performance.now() + COME_UP_MS;
    let answer = await probe(path);
    while (!answersWell(answer) && performance.now() < until) {
      await delay(50);
      answer = await probe(path);
    }
    if (answersWell(answer)) continue;
    const got = `${answer.status} with ${answer.body.length} bytes: ${answer.body.slice(0, 200)}`;
    throw new CliError(
      EXIT.failed,
      `${path.key} (${path.title}) should answer 200 with ${BODY_BYTES} bytes, but got ${got}`,
    );
  }
}

async function measure(
  scenario: Scenario,
  settings: Settings,
  setup: Setup,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<ScenarioReport> {
  const { measurement } = scenario;
  const variants = measurement.variants(settings);
  const warmest = variants.at(-1);
  for (const path of setup.paths) {
    signal.throwIfAborted();
    const seconds = Math.min(WARM_UP_SECONDS, settings.secondsPerSlot);
    if (measurement.warmUp !== undefined) await measurement.warmUp(path, seconds);
    else if (warmest !== undefined) await measurement.run(path, warmest, seconds);
  }
  const samples = new Map<string, Sample[]>();
  const samplesOf = (path: string, variant: string) => samples.get(`${variant}/${path}`) ?? [];
  for (const [repeat, slots] of slotOrder(setup.paths, variants, settings.repeats).entries()) {
    for (const { path, variant } of slots) {
      signal.throwIfAborted();
      const sample = await measurement.run(path, variant, settings.secondsPerSlot);
      samples.set(`${variant.title}/${path.key}`, [...samplesOf(path.key, variant.title), sample]);
      const rate = Math.round(sample[measurement.ratioColumns[0]] ?? 0);
      progress(`${scenario.name}: repeat ${repeat + 1}/${settings.repeats}, ${variant.title}, ${path.key}: ${rate}`);
    }
  }
  const values = (path: string, variant: string, column: string) =>
    samplesOf(path, variant).map((sample) => sample[column] ?? null);
  return {
    scenario: scenario.name,
    title: scenario.title,
    measurement: measurement.name,
    versions: setup.versions,
    columns: measurement.columns,
    rows: variants.flatMap((variant) =>
      setup.paths.map(({ key, title, kind }) => ({
        path: key,
        title,
        kind,
        variant: variant.title,
        samples: samplesOf(key, variant.title),
        summary: Object.fromEntries(
          measurement.columns.map((column) => [column.key, summarize(values(key, variant.title, column.key))]),
        ),
      })),
    ),
    ratios: variants.flatMap((variant) =>
      setup.ratios.flatMap(({ of, to }) =>
        measurement.ratioColumns.map((column) => {
          const ratio = pairedRatio(values(of, variant.title, column), values(to, variant.title, column));
          return { of, to, variant: variant.title, column, ratio };
        }),
      ),
    ),
  };
}
