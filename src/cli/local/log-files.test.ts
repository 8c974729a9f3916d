import { appendFileSync, closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LOG_TAIL_BYTES } from "../limits.ts";
import { lastLines, loggedParts, trimLog } from "./log-files.ts";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "causeway-logs-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("the last lines of a short, an empty, a missing and a huge log", () => {
  const path = join(dir, "a.log");
  writeFileSync(path, "one\ntwo\nthree\n");
  expect(lastLines(path, 2)).toEqual(["two", "three"]);
  expect(lastLines(join(dir, "none.log"), 2)).toEqual([]);
  writeFileSync(join(dir, "b.log"), "");
  expect(lastLines(join(dir, "b.log"), 2)).toEqual([]);
  writeFileSync(path, `${"x".repeat(LOG_TAIL_BYTES)}\nlast\n`);
  expect(lastLines(path, 5)).toEqual(["last"]);
  expect(loggedParts(dir)).toEqual(["a", "b"]);
});

test("a log that grew too long keeps its newer half, and its writer goes on at the end", () => {
  const path = join(dir, "c.log");
  const writer = openSync(path, "a");
  for (let line = 0; line < 100; line++) writeSync(writer, `line ${line}\n`);
  trimLog(path, 400);
  expect(statSync(path).size).toBeLessThanOrEqual(200);
  writeSync(writer, "after\n");
  closeSync(writer);
  const lines = lastLines(path, 1000);
  expect(lines[0]).toMatch(/^line \d+$/);
  expect(lines.slice(-2)).toEqual(["line 99", "after"]);
  appendFileSync(path, "");
});
