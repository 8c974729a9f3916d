import { CliError, EXIT } from "./exit.ts";
import type { Output } from "./output.ts";

/**
 * Does the work of a command that prints records while it goes on: a failure becomes its last record, with what a program needs to act on
 * it, before it goes its usual way to standard error. People read it there only.
 */
export async function withFailureRecord(output: Output, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (output.json) output.data(failureRecord(error), "");
    throw error;
  }
}

function failureRecord(error: unknown): object {
  if (error instanceof CliError) {
    return { type: "failed", exitCode: error.exitCode, message: error.message, hint: error.hint };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { type: "failed", exitCode: EXIT.failed, message, hint: null };
}
