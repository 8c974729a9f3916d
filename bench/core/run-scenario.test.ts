import { expect, test } from "vitest";
import { slotOrder } from "./run-scenario.ts";
import type { Path } from "./types.ts";

const path = (key: string): Path => ({
  key,
  title: key,
  kind: "subject",
  url: "",
  headers: async () => ({}),
  processes: [],
  originUrl: "",
  bulkPaceBytesPerSecond: 0,
});
const variant = (connections: number) => ({ title: String(connections), connections });

test("every repeat measures every path under every variant once, and begins with another path", () => {
  const order = slotOrder([path("a"), path("b"), path("c")], [variant(1), variant(64)], 4);
  const names = order.map((slots) => slots.map((slot) => slot.path.key + slot.variant.title).join(" "));
  expect(names).toEqual([
    "a1 b1 c1 a64 b64 c64",
    "b1 c1 a1 b64 c64 a64",
    "c1 a1 b1 c64 a64 b64",
    "a1 b1 c1 a64 b64 c64",
  ]);
});

test("no path, no slot", () => {
  expect(slotOrder([], [variant(1)], 2)).toEqual([[], []]);
});
