import { array, assert, asyncProperty, nat } from "fast-check";
import { expect, test } from "vitest";
import { readEvents } from "./events.ts";

async function* split(text: string, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  let from = 0;
  for (const cut of [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)) {
    yield bytes.slice(from, cut);
    from = cut;
  }
}

async function all(text: string, cuts: readonly number[]) {
  const events = [];
  for await (const event of readEvents(split(text, cuts))) events.push(event);
  return events;
}

test("events come out the same however the bytes are split", async () => {
  const text =
    ': hello\r\n\r\nevent: step\r\ndata: {"a":"ü"}\r\n\r\ndata:one\ndata: two\nid: 4\n\n\nevent: end\ndata\n\ndata: unfinished';
  const expected = [
    { event: "step", data: '{"a":"ü"}' },
    { event: "message", data: "one\ntwo" },
    { event: "end", data: "" },
  ];
  await assert(
    asyncProperty(array(nat(200), { maxLength: 12 }), async (cuts) => {
      expect(await all(text, cuts)).toEqual(expected);
    }),
  );
});
