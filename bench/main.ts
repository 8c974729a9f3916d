/** `npm run bench`: see docs/performance.md. */
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { CliError, EXIT, type ExitCode } from "../src/cli/frame/exit.ts";
import { findLoadGenerator } from "./core/load-generator.ts";
import { describeMachine } from "./core/machine.ts";
import { measureRequests } from "./measure/requests.ts";
import { runScenario, type ScenarioReport } from "./core/run-scenario.ts";
import { helpText, type Options, parseOptions } from "./options.ts";
import { headText, type ReportHead } from "./report/head.ts";
import { scenarioTable } from "./report/table.ts";
import { nodeScenario } from "./scenarios/node.ts";
import { tunnelScenarios } from "./scenarios/tunnels.ts";
import { workerdBinary } from "./workerd/serve.ts";

const RESULTS = join(import.meta.dirname, "results");
const talk = (line: string): void => void process.stderr.write(`${line}\n`);

const generator = findLoadGenerator();
/** A new scenario is an entry here; a new kind of measuring is another Measurement. */
const scenarios = [nodeScenario(measureRequests(generator)), ...tunnelScenarios(generator)];

async function bench(options: Options, signal: AbortSignal): Promise<ExitCode> {
  const { repeats, secondsPerSlot, connections, paths } = options;
  const head: ReportHead = {
    startedAt: new Date().toISOString(),
    machine: describeMachine(),
    versions: {
      workerd: spawnSync(workerdBinary(), ["--version"], { encoding: "utf8" }).stdout.trim().replace("workerd ", ""),
      node: process.version.slice(1),
      load: generator.title,
    },
    settings: { repeats, secondsPerSlot, connections, paths },
  };
  const reports: ScenarioReport[] = [];
  for (const scenario of scenarios) {
    if (!isWanted(options.scenario, scenario.name)) continue;
    const folder = await mkdtemp(join(tmpdir(), "causeway-bench-"));
    try {
      reports.push(await runScenario(scenario, options, { folder, progress: talk, signal }));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const json = JSON.stringify({ ...head, reports }, null, 2);
  await mkdir(RESULTS, { recursive: true });
  const file = join(RESULTS, `${head.startedAt.replaceAll(":", "-")}.json`);
  await writeFile(file, `${json}\n`);
  const tables = [headText(head, reports), ...reports.map(scenarioTable)].join("\n");
  process.stdout.write(options.json ? `${json}\n` : tables);
  talk(`Written to ${file}`);
  const failed = reports
    .flatMap(({ rows }) => rows)
    .filter(({ kind }) => kind === "subject")
    .some(({ samples }) => samples.some((it) => (it["failed"] ?? 0) > 0));
  if (failed) talk('Some requests failed (column "failed"): the numbers of those rows mean nothing.');
  return failed ? EXIT.failed : EXIT.ok;
}

/** "relay" asks for everything that begins with "relay-". */
const isWanted = (asked: string, name: string): boolean =>
  asked === "all" || name === asked || name.startsWith(`${asked}-`);

async function main(): Promise<ExitCode> {
  const options = parseOptions(process.argv.slice(2), ["relay", ...scenarios.map((scenario) => scenario.name)]);
  if (!options.ok) {
    talk(`${options.error}\nnpm run bench -- --help shows what there is.`);
    return EXIT.usage;
  }
  if (options.value.help) {
    process.stdout.write(helpText(scenarios));
    return EXIT.ok;
  }
  const interrupted = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => interrupted.abort());
  try {
    return await bench(options.value, interrupted.signal);
  } catch (error) {
    if (interrupted.signal.aborted) return EXIT.interrupted;
    if (!(error instanceof CliError)) talk(inspect(error));
    else talk(error.hint === null ? error.message : `${error.message}\n${error.hint}`);
    return error instanceof CliError ? error.exitCode : EXIT.failed;
  }
}

process.exitCode = await main();
