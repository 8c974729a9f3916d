import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { claimInstanceId, isInstanceId } from "./instance.ts";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "causeway-instance-"))));
afterEach(() => rmSync(folder, { recursive: true }));

/** Processes by name; those in the set run. */
const running = new Set<string>();
const as = (self: string) => ({ self, runs: (holder: string) => running.has(holder) });
afterEach(() => running.clear());

test("the id survives a restart", () => {
  const path = join(folder, "id");
  expect(claimInstanceId(path, () => "first", as("one"))).toEqual({ ok: true, value: "first" });
  expect(claimInstanceId(path, () => "second", as("two"))).toEqual({ ok: true, value: "first" });
  expect(readFileSync(path, "utf8")).toBe("first\n");
});

test("processes that run beside each other have their own ids, each its own again after a restart", () => {
  const path = join(folder, "id");
  running.add("one").add("two");
  expect(claimInstanceId(path, () => "first", as("one"))).toEqual({ ok: true, value: "first" });
  expect(claimInstanceId(path, () => "second", as("two"))).toEqual({ ok: true, value: "second" });
  expect(claimInstanceId(path, () => "never", as("two"))).toEqual({ ok: true, value: "second" });
  running.delete("one");
  expect(claimInstanceId(path, () => "never", as("three"))).toEqual({ ok: true, value: "first" });
  running.delete("two");
  running.add("three");
  expect(claimInstanceId(path, () => "never", as("four"))).toEqual({ ok: true, value: "second" });
});

test("this process runs, one that never was does not", () => {
  const path = join(folder, "id");
  expect(claimInstanceId(path, () => "mine")).toEqual({ ok: true, value: "mine" });
  expect(claimInstanceId(path, () => "never")).toEqual({ ok: true, value: "mine" });
  writeFileSync(`${path}.lock`, "4194304999 1");
  expect(claimInstanceId(path, () => "never")).toEqual({ ok: true, value: "mine" });
  // The same process id, but of another boot.
  writeFileSync(`${path}.lock`, `${process.ppid} 1`);
  if (process.platform === "linux") expect(claimInstanceId(path, () => "never")).toEqual({ ok: true, value: "mine" });
});

test("a place that can't be written, or holds something else, still gives an id", () => {
  expect(claimInstanceId(join(folder, "no", "such", "folder"), () => "made")).toMatchObject({
    ok: false,
    error: { id: "made" },
  });
  const path = join(folder, "id");
  writeFileSync(path, "not/an/id");
  expect(claimInstanceId(path, () => "made")).toMatchObject({ ok: false, error: { id: "made" } });
});

test("ids with wildcards, separators or nothing in them are refused", () => {
  for (const id of ["", "a+b", "a/b", "#", "*", "-a", "a b", "a".repeat(65)]) expect(isInstanceId(id)).toBe(false);
  for (const id of ["plant-1a", "A.b_c", "a".repeat(64)]) expect(isInstanceId(id)).toBe(true);
});
