import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { parseArgs } from "node:util";
import { simulate } from "./world.ts";

/**
 * node test/sim/tunnel-sim.ts --from 1 --to 1000000 --workers 2
 *
 * Runs the tunnel's session at both ends of faulty sockets, one world a seed (world.ts), and stops at the first that breaks a rule: its
 * number, the rule and what had happened are printed, exit code 1. The same seed does the same again; --trace shows it for --from.
 */
interface Range {
  readonly from: number;
  readonly to: number;
  readonly step: number;
}

const isRange = (value: unknown): value is Range => typeof value === "object" && value !== null && "step" in value;

type Report =
  | { readonly kind: "progress"; readonly seeds: number }
  | { readonly kind: "failed"; readonly seed: number };

const REPORT_EVERY = 1_000;

function run({ from, to, step }: Range, report: (report: Report) => void): void {
  let seeds = 0;
  for (let seed = from; seed <= to; seed += step) {
    try {
      simulate(seed);
    } catch {
      return report({ kind: "failed", seed });
    }
    seeds += 1;
    if (seeds % REPORT_EVERY === 0) report({ kind: "progress", seeds: REPORT_EVERY });
  }
  report({ kind: "progress", seeds: seeds % REPORT_EVERY });
}

/** What happened in the world of a seed, and how it ended. */
function traceOf(seed: number): string {
  const lines: string[] = [];
  try {
    simulate(seed, (line) => lines.push(line));
    lines.push("nothing is wrong");
  } catch (error) {
    lines.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  return lines.join("\n");
}

function main(): void {
  const { values } = parseArgs({
    options: {
      from: { type: "string", default: "1" },
      to: { type: "string", default: "10000" },
      workers: { type: "string", default: "1" },
      trace: { type: "boolean", default: false },
    },
  });
  const from = Number(values.from);
  const to = Number(values.to);
  const workers = Number(values.workers);
  if (![from, to, workers].every((value) => Number.isSafeInteger(value) && value > 0) || to < from) {
    process.stderr.write("usage: node test/sim/tunnel-sim.ts --from 1 --to 10000 --workers 1 [--trace]\n");
    process.exit(2);
  }
  if (values.trace) {
    process.stdout.write(`${traceOf(from)}\n`);
    return;
  }
  const startMs = performance.now();
  let seeds = 0;
  let running = workers;
  const finish = (code: number): void => {
    const seconds = (performance.now() - startMs) / 1000;
    process.stdout.write(`${seeds} seeds in ${seconds.toFixed(1)} s, ${Math.round(seeds / seconds)} a second\n`);
    process.exit(code);
  };
  for (let i = 0; i < workers; i++) {
    const range: Range = { from: from + i, to, step: workers };
    const worker = new Worker(new URL(import.meta.url), { workerData: range });
    worker.on("message", (report: Report) => {
      if (report.kind === "progress") {
        seeds += report.seeds;
        return;
      }
      process.stdout.write(`seed ${report.seed} fails:\n${traceOf(report.seed)}\n`);
      finish(1);
    });
    worker.on("exit", () => {
      running -= 1;
      if (running === 0) finish(0);
    });
  }
}

if (isMainThread) main();
else if (isRange(workerData)) run(workerData, (report) => parentPort?.postMessage(report, []));
