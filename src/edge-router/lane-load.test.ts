import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createLaneLoad } from "./lane-load.ts";

const LASTS_MS = 5_000;
const loadAt = (clock: { nowMs: number }, random = 0) =>
  createLaneLoad(
    () => clock.nowMs,
    () => random,
    { maxTenants: 10, homeSurplus: 2 },
  );
const load = (random = 0) => loadAt({ nowMs: 0 }, random);

test("a tenant's home is drawn, and kept while it has not much more under way than the other lane", () => {
  for (const [drawn, home, other] of [
    [0.4, "a", "b"],
    [0.6, "b", "a"],
  ] as const) {
    const lanes = load(drawn);
    for (let n = 0; n < 2; n++) {
      expect(lanes.choose("ten_1")).toBe(home);
      lanes.begin("ten_1", home, "light", LASTS_MS);
    }
    expect(lanes.choose("ten_1")).toBe(home);
    lanes.begin("ten_1", home, "light", LASTS_MS);
    expect(lanes.choose("ten_1")).toBe(other);
    expect(lanes.choose("ten_2")).toBe(home);
  }
});

test("a lane with bulk is avoided, however much else the other one has", () => {
  const lanes = load();
  const end = lanes.begin("ten_1", "a", "bulk", LASTS_MS);
  for (let i = 0; i < 50; i++) lanes.begin("ten_1", "b", "light", LASTS_MS);
  expect(lanes.choose("ten_1")).toBe("b");
  end();
  end();
  expect(lanes.choose("ten_1")).toBe("a");
});

test("a lane that did not answer is the last choice for a while", () => {
  const clock = { nowMs: 0 };
  const lanes = loadAt(clock);
  lanes.suspect("ten_1", "a", 2_000);
  lanes.begin("ten_1", "b", "bulk", LASTS_MS);
  expect(lanes.choose("ten_1")).toBe("b");
  clock.nowMs = 2_000;
  expect(lanes.choose("ten_1")).toBe("a");
});

test("what nobody ends runs out, and to end it then changes nothing", () => {
  const clock = { nowMs: 0 };
  const lanes = loadAt(clock);
  const end = lanes.begin("ten_1", "a", "bulk", LASTS_MS);
  clock.nowMs = 4_999;
  expect(lanes.choose("ten_1")).toBe("b");
  clock.nowMs = 5_000;
  expect(lanes.choose("ten_1")).toBe("a");
  end();
  lanes.begin("ten_1", "b", "bulk", LASTS_MS);
  lanes.begin("ten_1", "a", "light", LASTS_MS);
  expect(lanes.choose("ten_1")).toBe("a");
});

test("tenants that nobody asks for are forgotten", () => {
  const lanes = load();
  lanes.begin("ten_1", "a", "bulk", LASTS_MS);
  for (let n = 0; n < 10; n++) lanes.choose(`other_${n}`);
  expect(lanes.choose("ten_1")).toBe("a");
});

test("the choice is the one that a list of all leases would give", () => {
  const lane = fc.constantFrom("a" as const, "b" as const);
  const weight = fc.constantFrom("light" as const, "bulk" as const);
  const step = fc.oneof(
    fc.record({ kind: fc.constant("begin" as const), lane, weight, seconds: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ kind: fc.constant("end" as const), which: fc.nat() }),
    fc.record({ kind: fc.constant("wait" as const), seconds: fc.integer({ min: 1, max: 4 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clock = { nowMs: 0 };
      const lanes = loadAt(clock);
      let all: { lane: "a" | "b"; weight: "light" | "bulk"; untilMs: number; end: () => void }[] = [];
      for (const each of steps) {
        if (each.kind === "wait") clock.nowMs += each.seconds * 1_000;
        if (each.kind === "begin") {
          const lastsMs = each.seconds * 1_000;
          const end = lanes.begin("ten_1", each.lane, each.weight, lastsMs);
          all.push({ lane: each.lane, weight: each.weight, untilMs: clock.nowMs + lastsMs, end });
        }
        const ended = each.kind === "end" ? all[each.which % all.length] : undefined;
        ended?.end();
        all = all.filter((lease) => lease !== ended);
        const held = (name: string, kind: string) =>
          all.filter((lease) => lease.lane === name && lease.weight === kind && lease.untilMs > clock.nowMs).length;
        const order = held("a", "bulk") - held("b", "bulk") || held("a", "light") - held("b", "light") - 2;
        expect(lanes.choose("ten_1")).toBe(order <= 0 ? "a" : "b");
      }
    }),
  );
});
