import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { PROBLEMS } from "../../src/shared/problem.ts";

const root = resolve(import.meta.dirname, "../..");

test("docs/errors.md lists every code with its status, and no other", () => {
  const rows = readFileSync(join(root, "docs/errors.md"), "utf8").matchAll(
    /^\| `([a-z-]+)` \| (\d+) \| (.+) \| (.+) \|$/gm,
  );
  const documented = Object.fromEntries([...rows].map((row) => [row[1], Number(row[2])]));
  const defined = Object.fromEntries(Object.entries(PROBLEMS).map(([code, { status }]) => [code, status]));
  expect(documented).toEqual(defined);
});
