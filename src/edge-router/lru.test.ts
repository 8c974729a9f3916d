import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createLru } from "./lru.ts";

describe("a bounded map", () => {
  test("forgets what was not used for longest", () => {
    const lru = createLru<number>(2);
    lru.set("a", 1);
    lru.set("b", 2);
    expect(lru.get("a")).toBe(1);
    lru.set("c", 3);
    expect([lru.get("a"), lru.get("b"), lru.get("c")]).toEqual([1, undefined, 3]);
  });

  test("with weights keeps no more than fits, whatever is put in, replaced and taken out", () => {
    const step = fc.tuple(fc.constantFrom("set", "delete", "get"), fc.nat({ max: 8 }), fc.integer({ min: 1, max: 60 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const lru = createLru<string>(5, { max: 100, of: (value) => value.length });
        // The plain model: keys with their values, least recently used first.
        let model: [string, string][] = [];
        for (const [what, number, length] of steps) {
          const key = String(number);
          const held = model.find(([one]) => one === key);
          if (what !== "get" || held !== undefined) model = model.filter(([one]) => one !== key);
          if (what === "delete") lru.delete(key);
          if (what === "get") {
            expect(lru.get(key)).toBe(held?.[1]);
            if (held !== undefined) model.push(held);
          }
          if (what !== "set") continue;
          const value = "x".repeat(length);
          lru.set(key, value);
          model.push([key, value]);
          while (model.length > 5 || model.reduce((sum, [, one]) => sum + one.length, 0) > 100) model.shift();
        }
        for (const [key, value] of model) expect(lru.get(key)).toBe(value);
        for (let i = 0; i <= 8; i++)
          if (!model.some(([key]) => key === String(i))) expect(lru.get(String(i))).toBeUndefined();
      }),
    );
  });

  test("does not keep what is too heavy alone", () => {
    const lru = createLru<string>(5, { max: 3, of: (value) => value.length });
    lru.set("a", "aa");
    lru.set("b", "bbbb");
    expect([lru.get("a"), lru.get("b")]).toEqual([undefined, undefined]);
  });
});
