import { expect, test } from "vitest";
import { z } from "zod";
import { inputWords } from "./input-words.ts";

const schema = z.strictObject({
  slug: z.string().min(3).max(5),
  note: z.string().min(1),
  seconds: z.number().int().min(0).max(3_600),
  share: z.number().positive().lt(1),
  items: z.array(z.string()).max(1),
  url: z.url(),
  state: z.enum(["on", "off"]),
  version: z.literal(1),
  on: z.boolean(),
  to: z.discriminatedUnion("kind", [z.object({ kind: z.literal("service") }), z.object({ kind: z.literal("target") })]),
  own: z.string().regex(/^a/, "begins with an a"),
});

const good = {
  slug: "acme",
  note: "x",
  seconds: 1,
  share: 0.5,
  items: [],
  url: "https://example.com",
  state: "on",
  version: 1,
  on: true,
  to: { kind: "service" },
  own: "a",
};

const wordsFor = (change: Record<string, unknown>): string[] =>
  (schema.safeParse({ ...good, ...change }, { error: inputWords }).error?.issues ?? []).map(({ message }) => message);

test.each([
  [{ slug: undefined }, "it is missing"],
  [{ slug: 5 }, "it has to be a string"],
  [{ slug: "ab" }, "at least 3 characters"],
  [{ slug: "abcdef" }, "at most 5 characters"],
  [{ note: "" }, "it is empty"],
  [{ seconds: 1.5 }, "it has to be a whole number"],
  [{ seconds: "1" }, "it has to be a number"],
  [{ seconds: 3_601 }, "at most 3600"],
  [{ share: 0 }, "more than 0"],
  [{ share: 1 }, "less than 1"],
  [{ items: ["a", "b"] }, "at most 1 item"],
  [{ items: {} }, "it has to be a list"],
  [{ url: "ftp" }, "an address with its scheme, such as https://example.com"],
  [{ state: "maybe" }, "one of on, off"],
  [{ version: 2 }, "only 1 is possible"],
  [{ on: "yes" }, "it has to be true or false"],
  [{ to: { kind: "nothing" } }, "one of service, target"],
  [{ to: "service" }, "it has to be an object"],
  [{ extra: 1 }, 'there is no field "extra" here'],
  [{ own: "b" }, "begins with an a"],
])("%j: %s", (change, words) => expect(wordsFor(change)).toEqual([words]));

test("what is right has no words", () => expect(wordsFor({})).toEqual([]));
