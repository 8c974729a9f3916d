import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { defineCommand } from "citty";
import { z } from "zod";
import { drainLane } from "../api/drain-lane.ts";
import { connectApi } from "../commands/api.ts";
import { runCommandLine } from "../frame/command.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { createOutput } from "../frame/output.ts";
import { PACKAGE_ROOT } from "../local/paths.ts";
import { WORKERS } from "../workers/list.ts";
import { type Finding, brokenIn, missingIn } from "./check.ts";
import { readConfigs } from "./config.ts";
import { exportedNames } from "./exports.ts";
import { accountProblems, secretNames, wranglerDeploy } from "./wrangler.ts";

/** Builds side by side: wrangler is one busy process each, and machines have two cores at least. */
const BUILDS_AT_ONCE = 2;

const deploy = defineCommand({
  meta: {
    name: "npm run deploy --",
    description: "Check and deploy the seven Workers to a Cloudflare account (docs/deploy.md)",
  },
  args: {
    "dry-run": { type: "boolean", description: "Build all and check their configuration; change nothing" },
    "skip-drain": {
      type: "boolean",
      description: "Don't empty the relay's sides first: for the first deploy, or when the management API is down",
    },
    grace: {
      type: "string",
      default: "60",
      description: "Open requests of a side have so long, in seconds, before it is deployed",
      valueHint: "SECONDS",
    },
    json: { type: "boolean", description: "Print what was found as one JSON object a line" },
  },
  async run({ args }) {
    const output = createOutput(args.json === true);
    const outDir = join(PACKAGE_ROOT, "dist/deploy");
    const configs = await readConfigs();
    const missing = missingIn(configs);
    const graceSeconds = z.coerce.number().int().min(1).max(3600).safeParse(args.grace);
    if (!graceSeconds.success) throw new CliError(EXIT.usage, "--grace is a number of seconds from 1 to 3600");
    const drains = args["skip-drain"] !== true;
    // Nothing needs to be built to see that a deploy can't happen.
    if (args["dry-run"] !== true)
      refuseIncomplete([
        ...missing.map(inWords),
        ...accountProblems(process.env),
        ...(drains ? apiProblems(process.env) : []),
        ...(await missingSecrets(configs)),
      ]);
    await buildAll(outDir, (name) => output.say(`✓ ${name} builds`));
    const broken = brokenIn(configs, await bundleExports(outDir));
    for (const finding of [...broken, ...missing])
      output.data(finding, `${finding.kind === "broken" ? "✗" : "-"} ${inWords(finding)}`);
    if (broken.length > 0) {
      throw new CliError(
        EXIT.usage,
        `${broken.length} mistakes in the Workers' configuration`,
        "They are listed above; nothing was deployed.",
      );
    }
    if (args["dry-run"] === true) {
      for (const { name, secrets } of configs) {
        const required = secrets?.required ?? [];
        if (required.length > 0) output.say(`  ${name} needs the secrets ${required.join(", ")}`);
      }
      output.say(`Order: ${orderOf(drains).join(", ")}`);
      output.say(
        `All seven Workers build and fit together. Before a real deploy: ${missing.length} things to put in (docs/deploy.md).`,
      );
      return;
    }
    // Objects first, callers last. The second side is drained only where the connectors are back at the first one.
    for (const worker of WORKERS) {
      if (drains && "drains" in worker) {
        const { api } = connectApi({});
        await drainLane(api, output, worker.drains, graceSeconds.data);
        output.say(`✓ lane ${worker.drains} is drained`);
      }
      await wranglerDeploy(worker, outDir, false);
      output.say(`✓ ${worker.name} is deployed`);
    }
  },
});

const inWords = ({ worker, message }: Finding): string => `${worker}: ${message}`;

const orderOf = (drains: boolean): string[] =>
  WORKERS.flatMap((worker) =>
    drains && "drains" in worker ? [`drain of lane ${worker.drains}`, worker.name] : [worker.name],
  );

/** Only the environment counts: the local stack must not be drained for a deploy elsewhere. */
const apiProblems = (env: NodeJS.ProcessEnv): string[] =>
  ["CAUSEWAY_API_URL", "CAUSEWAY_API_TOKEN"]
    .filter((name) => (env[name] ?? "") === "")
    .map((name) => `set ${name}: the relay's sides are drained one after the other (--skip-drain for a first deploy)`);

function refuseIncomplete(lacking: readonly string[]): void {
  if (lacking.length === 0) return;
  throw new CliError(
    EXIT.refused,
    `not ready to deploy; missing:\n${lacking.map((one) => `  - ${one}`).join("\n")}`,
    "Nothing was deployed. docs/deploy.md explains each; --dry-run checks without an account.",
  );
}

/** Secrets that the deployed Workers don't have. Without an account there is nobody to ask: that is missing first. */
async function missingSecrets(configs: Awaited<ReturnType<typeof readConfigs>>): Promise<string[]> {
  if (accountProblems(process.env).length > 0) return [];
  const missing: string[] = [];
  for (const worker of WORKERS) {
    const required = configs.find(({ name }) => name === worker.name)?.secrets?.required ?? [];
    const there = required.length === 0 ? new Set<string>() : await secretNames(worker);
    for (const name of required) {
      if (!there.has(name))
        missing.push(`${worker.name}: secret ${name} (wrangler secret put ${name} -c ${worker.config})`);
    }
  }
  return missing;
}

async function buildAll(outDir: string, built: (name: string) => void): Promise<void> {
  const waiting = [...WORKERS];
  const builder = async (): Promise<void> => {
    for (let worker = waiting.shift(); worker !== undefined; worker = waiting.shift()) {
      await wranglerDeploy(worker, outDir, true);
      built(worker.name);
    }
  };
  await Promise.all(Array.from({ length: BUILDS_AT_ONCE }, builder));
}

async function bundleExports(outDir: string): Promise<Map<string, Set<string>>> {
  return new Map(
    WORKERS.map(({ name }) => {
      const directory = join(outDir, name);
      const bundle = readdirSync(directory).find((file) => file.endsWith(".js"));
      return [
        name,
        bundle === undefined ? new Set<string>() : exportedNames(readFileSync(join(directory, bundle), "utf8")),
      ];
    }),
  );
}

process.exitCode = await runCommandLine(deploy, process.argv.slice(2), {
  name: "deploy",
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  colour: process.stdout.isTTY,
});
