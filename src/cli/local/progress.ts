import process from "node:process";
import { Listr } from "listr2";
import type { Output } from "../frame/output.ts";
import type { UpstreamKind } from "./context.ts";

/** The steps of a start, in the order in which they are shown; many run side by side. */
export const STEPS = {
  prepare: "look for leftovers and free ports",
  envoy: "find Envoy",
  bundle: "bundle the Workers",
  postgres: "start Postgres",
  database: "migrate and seed the control database",
  workers: "start the Workers",
  images: "build the images",
  target: "start the demo target",
  nodes: "enrol and start two nodes",
  tenants: "create the demo tenants",
  connector: "connect the demo site",
} as const;
export type StepName = keyof typeof STEPS;

/** Steps that a start has only with this upstream. */
const STEPS_OF: Partial<Record<StepName, UpstreamKind>> = { envoy: "process", images: "compose" };

/** What a start says about itself; goes over process.send when the supervisor is in the background. */
export type StepEvent =
  | { readonly type: "begin"; readonly step: StepName }
  | { readonly type: "note"; readonly step: StepName; readonly text: string }
  | { readonly type: "done"; readonly step: StepName; readonly ms: number }
  | { readonly type: "fail"; readonly step: StepName };

export type Report = (event: StepEvent) => void;

/** Runs one step and reports its begin and end. */
export async function step<T>(
  report: Report,
  name: StepName,
  work: (note: (text: string) => void) => Promise<T>,
): Promise<T> {
  const begin = Date.now();
  report({ type: "begin", step: name });
  try {
    const result = await work((text) => report({ type: "note", step: name, text }));
    report({ type: "done", step: name, ms: Date.now() - begin });
    return result;
  } catch (error) {
    report({ type: "fail", step: name });
    throw error;
  }
}

/** The longest step's line fits. */
const MIN_COLUMNS = 60;

export interface Progress {
  readonly report: Report;
  /** Ends the display; what comes after is printed below it. */
  end(): Promise<void>;
}

/** Spinners on a terminal, a line a step elsewhere, JSON lines with --json. */
export function createProgress(output: Output, upstream: UpstreamKind): Progress {
  if (output.json) return { report: (event) => output.data(event, ""), end: async () => {} };
  if (!isTerminal()) return { report: (event) => sayLine(output, event), end: async () => {} };
  return spinners(upstream);
}

/** Spinners need a screen of some width behind both streams. */
function isTerminal(): boolean {
  return process.stdout.isTTY && process.stderr.isTTY && process.stdout.columns >= MIN_COLUMNS;
}

function sayLine(output: Output, event: StepEvent): void {
  if (event.type === "note") output.say(`  ${STEPS[event.step]}: ${event.text}`);
  if (event.type === "done") output.say(`✓ ${STEPS[event.step]} (${seconds(event.ms)})`);
  if (event.type === "fail") output.say(`✗ ${STEPS[event.step]}`);
}

function spinners(upstream: UpstreamKind): Progress {
  const listeners = new Map<StepName, (event: StepEvent) => void>();
  const names = Object.keys(STEPS).filter((name): name is StepName => name in STEPS);
  const shown = names.filter((name) => (STEPS_OF[name] ?? upstream) === upstream);
  let abandon: () => void = () => {};
  const abandoned = new Promise<void>((resolve) => (abandon = resolve));
  const list = new Listr(
    shown.map((name) => ({
      title: STEPS[name],
      task: async (_: unknown, task: { title: string; output: string }) => {
        const finished = new Promise<void>((resolve, reject) => {
          listeners.set(name, (event) => {
            if (event.type === "note") task.output = event.text;
            if (event.type === "done") {
              task.title = `${STEPS[name]} (${seconds(event.ms)})`;
              resolve();
            }
            if (event.type === "fail") reject(new Error(STEPS[name]));
          });
        });
        await Promise.race([finished, abandoned]);
      },
    })),
    {
      concurrent: true,
      exitOnError: false,
      registerSignalListeners: false,
      rendererOptions: { collapseErrors: true, showErrorMessage: false },
    },
  );
  const running = list.run();
  return {
    report: (event) => listeners.get(event.step)?.(event),
    async end() {
      abandon();
      await running.catch(() => {});
    },
  };
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
