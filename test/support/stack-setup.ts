import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { runCli } from "./cli.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** State folder of the run's shared local stack (test/support/stack.ts starts it when the first test asks). */
    stackDir: string;
  }
}

/** vitest's global set-up of the suites with a local stack: one stack a run, started only when a test wants it, stopped at the end. */
export default function setup(project: TestProject): () => Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "causeway-stack-"));
  project.provide("stackDir", dir);
  return async () => {
    if (existsSync(join(dir, "supervisor.json"))) {
      const { code, stderr } = await runCli(["down", "--state-dir", dir]);
      if (code !== 0) throw new Error(`the shared stack could not be stopped: ${stderr}`);
    }
    rmSync(dir, { recursive: true, force: true });
  };
}
