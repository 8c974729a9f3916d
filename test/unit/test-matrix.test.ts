import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const rows = readFileSync(join(root, "docs/test-matrix.md"), "utf8")
  .split("\n")
  .flatMap((line) => {
    const row = /^\| ([A-Z]\d+) \| (.+) \| (.+) \| (.+) \|$/.exec(line);
    return row === null
      ? []
      : [{ id: row[1] ?? "", files: [...(row[3] ?? "").matchAll(/`([^`]+\.tsx?)`/g)].map((m) => m[1] ?? "") }];
  });

test("every test file that the matrix names is there and belongs to a suite", () => {
  expect(rows.length).toBeGreaterThan(100);
  const wrong = rows
    .flatMap(({ id, files }) => files.map((file) => ({ id, file })))
    .filter(
      ({ file }) =>
        !existsSync(join(root, file)) ||
        !/^(src|bench|test\/(unit|workerd|system|stack|browser|compose))\/.*\.test\.ts$/.test(file),
    );
  expect(wrong).toEqual([]);
});

test("an id has one row", () => {
  const ids = rows.map(({ id }) => id);
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
});
