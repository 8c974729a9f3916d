import { expect, test } from "vitest";
import { createUnfinishedMessages } from "./unfinished-messages.ts";

const MAX = 1_000;

function bench() {
  const clock = { ms: 0 };
  const ended: string[] = [];
  const messages = createUnfinishedMessages(MAX, () => clock.ms);
  return { clock, ended, messages, open: (name: string) => messages.open(() => void ended.push(name)) };
}

test("whole messages, pings between parts and the start of the next one are told apart", () => {
  const { messages, open, ended } = bench();
  const one = open("one");
  for (let i = 0; i < 100; i++) {
    one.received(906);
    one.finished(900);
  }
  expect(messages.bytes).toBe(0);
  one.received(500); // the first part, and a ping in its middle
  one.control(94);
  expect(messages.bytes).toBe(400);
  one.received(300); // the rest of it, and 100 bytes of the next
  one.finished(594);
  expect(messages.bytes).toBe(100);
  one.gone();
  expect([messages.bytes, ended]).toEqual([0, []]);
});

test("headers of a thousand parts add up to nothing", () => {
  const { messages, open } = bench();
  const one = open("one");
  for (let i = 0; i < 100; i++) {
    for (let part = 0; part < 10; part++) one.received(7);
    one.finished(10);
  }
  expect(messages.bytes).toBeLessThanOrEqual(7);
});

test("beyond the bound the one that cost most so far is ended, not the one that came last", () => {
  const { clock, messages, open, ended } = bench();
  const holds = ["old", "older"].map(open);
  for (const one of holds) one.received(300);
  clock.ms = 60_000;
  const quick = open("quick");
  quick.received(500);
  expect(ended).toEqual(["old"]);
  expect(messages.bytes).toBe(800);
  holds[0]?.received(10_000); // its socket is about to be gone
  expect(messages.bytes).toBe(800);
  quick.finished(494);
  expect(messages.bytes).toBe(300);
});
