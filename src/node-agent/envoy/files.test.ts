import { mkdtempSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { replaceFile, replaceIfChanged } from "./files.ts";

test("a watched file is replaced by a move: whoever reads meanwhile sees the old or the new one, whole (H35)", async () => {
  const dir = mkdtempSync(join(tmpdir(), "cw-files-"));
  const path = join(dir, "listeners.json");
  const content = (n: number): string => `${n}:${String(n % 10).repeat(100_000)}`;
  await replaceFile(path, content(0), 0o600);
  let over = false;
  const inodes = new Set<number>();
  const reading = (async () => {
    for (;;) {
      if (over) return;
      const text = readFileSync(path, "utf8");
      const [, n = "", filler = ""] = /^([0-9]+):([0-9]*)$/.exec(text) ?? [];
      expect(filler).toBe(String(Number(n) % 10).repeat(100_000));
      inodes.add(statSync(path).ino);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  for (let n = 1; n <= 50; n++) await replaceFile(path, content(n), 0o600);
  over = true;
  await reading;
  expect(inodes.size).toBeGreaterThan(1); // never edited in place
  expect(readFileSync(path, "utf8")).toBe(content(50));
  expect(readdirSync(dir)).toEqual(["listeners.json"]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("what is the same is not written again, so Envoy is not woken for nothing", async () => {
  const dir = mkdtempSync(join(tmpdir(), "cw-files-"));
  const path = join(dir, "below", "filter.json");
  expect(await replaceIfChanged(path, "{}", 0o600)).toBe(true);
  const { ino } = statSync(path);
  expect(await replaceIfChanged(path, "{}", 0o600)).toBe(false);
  expect(statSync(path).ino).toBe(ino);
  expect(await replaceIfChanged(path, "[]", 0o600)).toBe(true);
});
