/**
 * `npm test`: every suite from fast to slow, then one closing line with the totals. Arguments name suites (unit workerd system stack browser
 * compose); none means all. Exit code 1 when a test failed or a suite could not run.
 */
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missingForBrowser, missingForCompose } from "./support/prerequisites.ts";

const SUITES = ["unit", "workerd", "system", "stack", "browser", "compose"] as const;
type Suite = (typeof SUITES)[number];
const PROJECT: Record<Suite, string> = {
  unit: "unit",
  workerd: "workerd-*",
  system: "system",
  stack: "stack",
  browser: "browser",
  compose: "compose",
};

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

function selected(): Suite[] {
  const wanted = process.argv.slice(2);
  const unknown = wanted.filter((name) => !(SUITES as readonly string[]).includes(name));
  if (unknown.length > 0) {
    console.error(`Unknown suite: ${unknown.join(", ")}. Suites: ${SUITES.join(", ")}.`);
    process.exit(2);
  }
  return wanted.length === 0 ? [...SUITES] : SUITES.filter((suite) => wanted.includes(suite));
}

async function runSuite(suite: Suite, folder: string): Promise<Totals> {
  const report = join(folder, `${suite}.json`);
  const child = spawn(
    process.execPath,
    [
      "node_modules/vitest/vitest.mjs",
      "run",
      "--project",
      PROJECT[suite],
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
    ],
    { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, TMPDIR: folder } },
  );
  const code = await new Promise<number>((resolve) => child.on("exit", (exit) => resolve(exit ?? 1)));
  let result: { numPassedTests: number; numFailedTests: number; numPendingTests: number };
  try {
    result = JSON.parse(readFileSync(report, "utf8"));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  // A failing hook or a file that can't be loaded fails the run without a failed test.
  const failed = result.numFailedTests > 0 ? result.numFailedTests : code === 0 ? 0 : 1;
  return { passed: result.numPassedTests, failed, skipped: result.numPendingTests };
}

/** Beside each other: what waits most of the time. In a row one suite follows the other; a stage begins when the one before it has ended. */
const STAGES: readonly (readonly (readonly Suite[])[])[] = [
  [["unit"]],
  [["workerd"]],
  [["system"], ["stack", "browser"]],
  [["compose"]],
];

// What tests leave in the folder for temporary files goes with it. Its name is short: sockets have paths of 107 bytes at most.
const folder = mkdtempSync(join(tmpdir(), "cw-"));
chmodSync(folder, 0o711); // root's Postgres runs as another user
const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
const lines: string[] = [];

async function run(suite: Suite): Promise<void> {
  const missing = suite === "browser" ? missingForBrowser() : suite === "compose" ? missingForCompose() : null;
  if (missing !== null && suite === "browser") {
    console.error(`\n${missing}\n`);
    totals.failed += 1;
    lines.push(`${suite}: could not run (no browser)`);
    return;
  }
  if (missing !== null) {
    console.error(`\n!!! SKIPPED: the ${suite} suite. ${missing} !!!\n`);
    totals.skipped += 1;
    lines.push(`${suite}: SKIPPED (${missing})`);
    return;
  }
  const startedMs = Date.now();
  const one = await runSuite(suite, folder);
  totals.passed += one.passed;
  totals.failed += one.failed;
  totals.skipped += one.skipped;
  lines.push(
    `${suite}: ${one.passed} passed, ${one.failed} failed, ${one.skipped} skipped in ${Math.round((Date.now() - startedMs) / 1000)} s`,
  );
}

const wanted = selected();
for (const rows of STAGES) {
  await Promise.all(
    rows.map(async (row) => {
      for (const suite of row) if (wanted.includes(suite)) await run(suite);
    }),
  );
}
try {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
} catch (error) {
  console.error(`${folder} could not be removed: ${String(error)}`); // something still writes there
}
console.log(`\n${lines.join("\n")}\n`);
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0);
