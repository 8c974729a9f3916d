import { expect, test } from "vitest";
import { applyRules, compileRules } from "./header-rules.ts";

test("rules remove and replace in any case, and add beside what is there", () => {
  const rules = compileRules({ set: { "X-Set": "new" }, add: { "x-add": ["1", "2"] }, remove: ["COOKIE"] });
  const headers = [
    ["cookie", "a"],
    ["x-set", "old"],
    ["X-SET", "older"],
    ["X-Add", "0"],
    ["Keep", "k"],
  ] as const;
  expect(applyRules(rules, headers)).toEqual([
    ["X-Add", "0"],
    ["Keep", "k"],
    ["X-Set", "new"],
    ["x-add", "1"],
    ["x-add", "2"],
  ]);
  expect(compileRules({ set: {}, add: {}, remove: [] })).toBeNull();
});
