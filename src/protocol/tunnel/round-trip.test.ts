import { expect, it } from "vitest";
import { RoundTrip } from "./round-trip.ts";

it("takes the least of the last measurements, since a slower one may only have waited", () => {
  const way = new RoundTrip();
  expect(way.ms).toBeNull();
  way.measured(280, 0);
  way.measured(5, 2_000);
  way.measured(300, 4_000);
  expect(way.ms).toBe(5);
});

it("believes after two periods that the way became longer, and at once that it became shorter", () => {
  const way = new RoundTrip();
  way.measured(5, 0);
  for (let now = 2_000; now <= 14_000; now += 2_000) way.measured(100, now);
  expect(way.ms).toBe(5);
  for (let now = 16_000; now <= 32_000; now += 2_000) way.measured(100, now);
  expect(way.ms).toBe(100);
  way.measured(0, 33_000);
  expect(way.ms).toBe(1); // clocks that stand still measure nothing
});
