import { array, assert, nat, property } from "fast-check";
import { describe, expect, it } from "vitest";
import { LinkedList, type Linked } from "./linked-list.ts";

interface Member extends Linked<Member> {
  readonly name: number;
}
const member = (name: number): Member => ({ name, before: null, after: null });

describe("a list of linked members", () => {
  it("is what a Set is, in the same order", () => {
    assert(
      property(array(nat(9)), (names) => {
        const members = Array.from({ length: 10 }, (_, name) => member(name));
        const list = new LinkedList<Member>();
        const model = new Set<Member>();
        for (const name of names) {
          const one = members[name] ?? member(name);
          if (model.delete(one)) list.remove(one);
          else {
            model.add(one);
            list.add(one);
          }
          expect(list.all()).toEqual([...model]);
          expect(list.size).toBe(model.size);
          expect(list.first).toBe([...model][0] ?? null);
        }
      }),
    );
  });

  it("leaves nothing in who has left", () => {
    const list = new LinkedList<Member>();
    const [one, two, three] = [member(1), member(2), member(3)];
    for (const each of [one, two, three]) list.add(each);
    list.remove(two);
    expect([two.before, two.after]).toEqual([null, null]);
    expect(list.all().map(({ name }) => name)).toEqual([1, 3]);
  });
});
