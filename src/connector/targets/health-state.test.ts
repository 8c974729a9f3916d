import { expect, test } from "vitest";
import { afterCheck, UNKNOWN } from "./health-state.ts";

const thresholds = { unhealthyAfter: 3, healthyAfter: 2 };
const after = (checks: string): string =>
  checks.split("").reduce((state, check) => afterCheck(state, check === "+", thresholds), UNKNOWN).health;

test.each([
  ["", "unknown"],
  ["+", "healthy"],
  ["-", "unhealthy"],
  ["+--", "healthy"],
  ["+---", "unhealthy"],
  ["+--+--", "healthy"],
  ["-+", "unhealthy"],
  ["-++", "healthy"],
  ["-+-+", "unhealthy"],
])("checks %s leave a target %s", (checks, health) => {
  expect(after(checks)).toBe(health);
});
