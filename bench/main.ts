/** `npm run bench`: docs/performance.md. */
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { BenchError } from "./core/bench-error.ts";
import { findLoadGenerator } from "./core/load-generator.ts";
import { describeMachine } from "./core/machine.ts";
import { measureRequests } from "./core/measure-requests.ts";
import { runScenario, type ScenarioReport } from "./core/run-scenario.ts";
import { helpText, type Options, parseOptions } from "./options.ts";
import { scenarioTable } from "./report/table.ts";
import { nodeScenario } from "./scenarios/node.ts";
import { relayScenario } from "./scenarios/relay.ts";
import { workerdBinary } from "./workerd/serve.ts";

const RESULTS = join(import.meta.dirname, "results");
const talk = (line: string): void => void process.stderr.write(`${line}\n`);

const generator = findLoadGenerator();
const requests = measureRequests(generator);
const scenarios = [nodeScenario(requests), relayScenario(requests)];

async function bench(options: Options, signal: AbortSignal): Promise<0 | 1> {
  const chosen = scenarios.filter((scenario) => options.scenario === "all" || scenario.name === options.scenario);
  const startedAt = new Date().toISOString();
  const head = {
    startedAt,
    machine: describeMachine(),
    versions: {
      workerd: spawnSync(workerdBinary(), ["--version"], { encoding: "utf8" }).stdout.trim(),
      node: process.version,
      load: generator.title,
    },
    settings: { repeats: options.repeats, secondsPerSlot: options.secondsPerSlot, connections: options.connections },
  };
  const reports: ScenarioReport[] = [];
  for (const scenario of chosen) {
    const folder = await mkdtemp(join(tmpdir(), "causeway-bench-"));
    try {
      reports.push(await runScenario(scenario, options, { folder, progress: talk, signal }));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const json = JSON.stringify({ ...head, reports }, null, 2);
  await mkdir(RESULTS, { recursive: true });
  const file = join(RESULTS, `${startedAt.replaceAll(":", "-")}.json`);
  await writeFile(file, `${json}\n`);
  process.stdout.write(options.json ? `${json}\n` : reports.map((report) => `${scenarioTable(report)}\n`).join(""));
  talk(`Written to ${file}`);
  return 0;
}

const options = parseOptions(
  process.argv.slice(2),
  scenarios.map((scenario) => scenario.name),
);
if (!options.ok) {
  talk(`${options.error}\nnpm run bench -- --help shows what there is.`);
  process.exitCode = 2;
} else if (options.value.help) {
  process.stdout.write(helpText(scenarios));
} else {
  const interrupted = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => interrupted.abort());
  try {
    process.exitCode = await bench(options.value, interrupted.signal);
  } catch (error) {
    process.exitCode = interrupted.signal.aborted ? 130 : error instanceof BenchError ? error.exitCode : 1;
    if (!interrupted.signal.aborted) talk(error instanceof BenchError ? error.message : inspect(error));
  }
}
