import { expect, test } from "vitest";
import { CliError, EXIT } from "./exit.ts";
import { withFailureRecord } from "./failure.ts";
import { createOutput } from "./output.ts";

const failing = new CliError(EXIT.environment, "port 1 is in use", "Choose another one.");

test.each([
  [failing, { type: "failed", exitCode: 4, message: "port 1 is in use", hint: "Choose another one." }],
  [new Error("a surprise"), { type: "failed", exitCode: 1, message: "a surprise", hint: null }],
])("a failure is the last record of a program's reader: %s", async (error, record) => {
  const lines: string[] = [];
  const output = createOutput(true, (text) => lines.push(text));
  const work = withFailureRecord(output, async () => {
    output.data({ type: "fail", step: "prepare" }, "");
    throw error;
  });
  await expect(work).rejects.toBe(error);
  expect(lines.map((line) => JSON.parse(line))).toEqual([{ type: "fail", step: "prepare" }, record]);
});

test("people read it on standard error only", async () => {
  const lines: string[] = [];
  const output = createOutput(false, (text) => lines.push(text));
  await expect(withFailureRecord(output, () => Promise.reject(failing))).rejects.toBe(failing);
  expect(lines).toEqual([]);
});
