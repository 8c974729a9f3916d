import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { defineCommand } from "citty";
import { runCommandLine } from "../frame/command.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { createOutput } from "../frame/output.ts";
import { PACKAGE_ROOT } from "../local/paths.ts";
import { WORKERS } from "../workers/list.ts";
import { type Finding, checkConfigs } from "./check.ts";
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
    json: { type: "boolean", description: "Print what was found as one JSON object a line" },
  },
  async run({ args }) {
    const output = createOutput(args.json === true);
    const outDir = join(PACKAGE_ROOT, "dist/deploy");
    await buildAll(outDir, (name) => output.say(`✓ ${name} builds`));
    const configs = await readConfigs();
    const findings = checkConfigs(configs, await bundleExports(outDir));
    for (const { name, secrets } of configs) {
      const required = secrets?.required ?? [];
      if (required.length > 0) output.say(`  ${name} needs the secrets ${required.join(", ")}`);
    }
    for (const finding of findings)
      output.data(finding, `${finding.kind === "broken" ? "✗" : "-"} ${finding.worker}: ${finding.message}`);
    const broken = findings.filter(({ kind }) => kind === "broken");
    if (broken.length > 0) {
      throw new CliError(
        EXIT.usage,
        `${broken.length} mistakes in the Workers' configuration`,
        "They are listed above; nothing was deployed.",
      );
    }
    if (args["dry-run"] === true) {
      const left = findings.length;
      output.say(
        `All seven Workers build and fit together. ${left} things to put in before a real deploy (docs/deploy.md).`,
      );
      return;
    }
    await deployAll(outDir, findings, configs, (text) => output.say(text));
  },
});

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

/** Refuses unless everything is there; then objects first, callers last. */
async function deployAll(
  outDir: string,
  findings: readonly Finding[],
  configs: Awaited<ReturnType<typeof readConfigs>>,
  say: (text: string) => void,
): Promise<void> {
  const lacking = [...findings.map(({ worker, message }) => `${worker}: ${message}`), ...accountProblems(process.env)];
  if (lacking.length === 0) {
    for (const worker of WORKERS) {
      const required = configs.find(({ name }) => name === worker.name)?.secrets?.required ?? [];
      const there = required.length === 0 ? new Set<string>() : await secretNames(worker);
      const missing = required.filter((name) => !there.has(name));
      lacking.push(
        ...missing.map((name) => `${worker.name}: secret ${name} (wrangler secret put ${name} -c ${worker.config})`),
      );
    }
  }
  if (lacking.length > 0) {
    throw new CliError(
      EXIT.refused,
      `not ready to deploy; missing:\n${lacking.map((one) => `  - ${one}`).join("\n")}`,
      "Nothing was deployed. docs/deploy.md explains each; --dry-run checks without an account.",
    );
  }
  for (const worker of WORKERS) {
    await wranglerDeploy(worker, outDir, false);
    say(`✓ ${worker.name} is deployed`);
  }
}

process.exitCode = await runCommandLine(deploy, process.argv.slice(2), {
  name: "deploy",
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  colour: process.stdout.isTTY,
});
