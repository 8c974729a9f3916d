import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isInstanceId, storedInstanceId } from "./instance.ts";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "causeway-instance-"))));
afterEach(() => rmSync(folder, { recursive: true }));

test("the id survives a restart", () => {
  const path = join(folder, "id");
  expect(storedInstanceId(path, () => "first")).toEqual({ ok: true, value: "first" });
  expect(storedInstanceId(path, () => "second")).toEqual({ ok: true, value: "first" });
  expect(readFileSync(path, "utf8")).toBe("first\n");
});

test("a place that can't be written, or holds something else, still gives an id", () => {
  expect(storedInstanceId(join(folder, "no", "such", "folder"), () => "made")).toMatchObject({
    ok: false,
    error: { id: "made" },
  });
  const path = join(folder, "id");
  writeFileSync(path, "not/an/id");
  expect(storedInstanceId(path, () => "made")).toMatchObject({ ok: false, error: { id: "made" } });
});

test("ids with wildcards, separators or nothing in them are refused", () => {
  for (const id of ["", "a+b", "a/b", "#", "*", "-a", "a b", "a".repeat(65)]) expect(isInstanceId(id)).toBe(false);
  for (const id of ["plant-1a", "A.b_c", "a".repeat(64)]) expect(isInstanceId(id)).toBe(true);
});
