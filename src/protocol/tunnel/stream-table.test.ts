import { array, assert, integer, nat, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import { StreamTable } from "./stream-table.ts";

describe("streams by id", () => {
  it("is what a Map is, with ids that collide", () => {
    const step = record({ id: integer({ min: 0, max: 80 }).map((n) => 2 * n + 1), far: nat(3) });
    assert(
      property(array(step, { maxLength: 200 }), (steps) => {
        const table = new StreamTable<{ id: number }>();
        const model = new Map<number, { id: number }>();
        for (const { id: near, far } of steps) {
          const id = near + far * 64;
          if (model.has(id)) {
            model.delete(id);
            table.delete(id);
          } else {
            const stream = { id };
            model.set(id, stream);
            table.add(stream);
          }
          table.delete(999_999);
          expect(table.size).toBe(model.size);
          for (const [each, stream] of model) expect(table.get(each)).toBe(stream);
          expect(table.get(id)).toBe(model.get(id));
        }
        expect(table.all()).toEqual([...model.values()].toSorted((one, other) => one.id - other.id));
      }),
    );
  });
});
