/**
 * `npm test`: every suite from fast to slow, then one closing line with the totals. Arguments name suites (unit workerd system browser
 * compose); none means all. Exit code 1 when a test failed or a suite could not run.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missingForBrowser, missingForCompose } from "./support/prerequisites.ts";

const SUITES = ["unit", "workerd", "system", "browser", "compose"] as const;
type Suite = (typeof SUITES)[number];
const PROJECT: Record<Suite, string> = {
  unit: "unit",
  workerd: "workerd-*",
  system: "system",
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
    { stdio: ["ignore", "inherit", "inherit"] },
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

const folder = mkdtempSync(join(tmpdir(), "causeway-test-"));
const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
const lines: string[] = [];
for (const suite of selected()) {
  if (suite === "browser") {
    const missing = missingForBrowser();
    if (missing !== null) {
      console.error(`\n${missing}\n`);
      totals.failed += 1;
      lines.push(`${suite}: could not run (no browser)`);
      continue;
    }
  }
  if (suite === "compose") {
    const missing = missingForCompose();
    if (missing !== null) {
      console.error(`\n!!! SKIPPED: the compose suite. ${missing} !!!\n`);
      totals.skipped += 1;
      lines.push(`${suite}: SKIPPED (${missing})`);
      continue;
    }
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
rmSync(folder, { recursive: true, force: true });
console.log(`\n${lines.join("\n")}\n`);
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0);
