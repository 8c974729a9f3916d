import { describe, expect, it } from "vitest";
import { Scheduler } from "./scheduler.ts";
import type { Sender } from "./scheduler.ts";

interface Named extends Sender<Named> {
  readonly name: string;
}
const sender = (name: string, urgency: number): Named => ({
  name,
  urgency,
  place: "nowhere",
  before: null,
  after: null,
});

/** Names in the order of `turns` turns, each coming back at once as one that still has bytes does. */
function order(scheduler: Scheduler<ReturnType<typeof sender>>, turns: number): string[] {
  const names: string[] = [];
  for (let i = 0; i < turns; i++) {
    const next = scheduler.next();
    if (next === null) break;
    names.push(next.sender.name);
    scheduler.addBody(next.sender);
  }
  return names;
}

describe("whose turn it is", () => {
  it("takes heads first, in the order in which they came, whatever their urgency", () => {
    const scheduler = new Scheduler<ReturnType<typeof sender>>();
    scheduler.addBody(sender("bulk", 0));
    scheduler.addHead(sender("first", 7));
    scheduler.addHead(sender("second", 0));
    expect(order(scheduler, 3)).toEqual(["first", "second", "bulk"]);
  });

  it("takes turns inside one urgency, and gives the less urgent every ninth turn", () => {
    const scheduler = new Scheduler<ReturnType<typeof sender>>();
    for (const each of [sender("a", 1), sender("b", 1), sender("c", 5), sender("d", 7)]) scheduler.addBody(each);
    const names = order(scheduler, 180);
    const count = (name: string): number => names.filter((each) => each === name).length;
    expect(names.slice(0, 9)).toEqual(["a", "b", "a", "b", "a", "b", "a", "b", "c"]);
    expect([count("a"), count("b"), count("c"), count("d")]).toEqual([80, 80, 10, 10]);
  });

  it("lets those who wait for credit stand aside until it comes, and forgets who is removed", () => {
    const scheduler = new Scheduler<ReturnType<typeof sender>>();
    const waits = sender("waits", 0);
    const gone = sender("gone", 0);
    scheduler.waitForCredit(waits);
    scheduler.waitForCredit(gone);
    scheduler.remove(gone);
    expect([scheduler.size, scheduler.next()]).toEqual([0, null]);
    scheduler.creditCame();
    expect(order(scheduler, 2)).toEqual(["waits", "waits"]);
    scheduler.remove(waits);
    expect([scheduler.size, scheduler.next()]).toEqual([0, null]);
  });

  it("starts the next message with what did not fit into the last", () => {
    const scheduler = new Scheduler<ReturnType<typeof sender>>();
    scheduler.addHead(sender("head", 0));
    scheduler.putBack(sender("long", 7));
    expect(order(scheduler, 2)).toEqual(["long", "head"]);
  });
});
