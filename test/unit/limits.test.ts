import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const src = resolve(import.meta.dirname, "../../src");
const ROLES = ["edge-router", "relay", "provisioner", "console", "portal", "connector", "node-agent", "cli"];
const NUMBER = /(^export const \w+ =|^ {2,}\w+:) [\d_]+( \* [\d_]+)*[,;]/;
const GROUP = /[{]$/;
const REASON = /^\s*(\/\/|\/\*\*|\*)/;

test.each(ROLES)("%s keeps its numbers in limits.ts, each with a reason", (role) => {
  const lines = readFileSync(join(src, role, "limits.ts"), "utf8").split("\n");
  expect(lines.some((line) => NUMBER.test(line))).toBe(true);
  const bare = lines.filter((line, index) => {
    if (!NUMBER.test(line) || line.includes("//")) return false;
    // Numbers right below each other share the reason above the first one, or above their group.
    let above = index - 1;
    while (NUMBER.test(lines[above] ?? "") || GROUP.test(lines[above] ?? "")) above -= 1;
    return !REASON.test(lines[above] ?? "");
  });
  expect(bare).toEqual([]);
});
