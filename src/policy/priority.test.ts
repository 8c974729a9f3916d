import { expect, test } from "vitest";
import { urgencyOf } from "./priority.ts";

test.each<[string | null, number]>([
  [null, 3],
  ["", 3],
  ["u=0", 0],
  ["u=7, i", 7],
  ["i, u=1", 1],
  ["u=1;x=y", 1],
  ["u=1, u=5", 5],
  ["u=8", 3],
  ["u=-1", 3],
  ["u=10", 3],
  ["ux=1", 3],
  ["nonsense", 3],
])("priority %j is urgency %i (RFC 9218)", (priority, urgency) => {
  expect(urgencyOf(priority)).toBe(urgency);
});
