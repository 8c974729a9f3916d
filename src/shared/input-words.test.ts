import { expect, test } from "vitest";
import { z } from "zod";
import { inputWords, placedWords } from "./input-words.ts";

const file = z.strictObject({
  name: z.string().min(1),
  slug: z.string().min(3).max(5),
  share: z.number().positive().lt(1),
  version: z.literal(1),
  to: z.discriminatedUnion("kind", [z.object({ kind: z.literal("service") }), z.object({ kind: z.literal("target") })]),
  port: z.number().int().min(1).max(65_535),
  on: z.boolean(),
  hosts: z.array(z.string()).max(2),
  part: z.strictObject({}),
  level: z.enum(["low", "high"]),
  until: z.iso.datetime(),
  at: z.url(),
  sha: z.string().regex(/^x$/, "its own words"),
});
const right = {
  name: "a",
  slug: "acme",
  share: 0.5,
  version: 1,
  to: { kind: "service" },
  port: 1,
  on: true,
  hosts: [],
  part: {},
  level: "low",
  until: "2027-01-01T00:00:00Z",
  at: "http://x",
  sha: "x",
};

test.each([
  ["name", 7, "write a text"],
  ["name", "", "it must not be empty"],
  ["name", undefined, "it is missing: write a text"],
  ["slug", "ab", "write at least 3 characters"],
  ["slug", "abcdef", "write at most 5 characters"],
  ["share", 0, "write more than 0"],
  ["share", 1, "write less than 1"],
  ["version", 2, "write 1"],
  ["to", { kind: "nothing" }, "write service or target"],
  ["to", "secret", "write an object, as { name: value }"],
  ["port", "secret", "write a number"],
  ["port", 1.5, "write a whole number"],
  ["port", 0, "write at least 1"],
  ["port", 70_000, "write at most 65535"],
  ["on", "secret", "write true or false"],
  ["hosts", "secret", "write a list, as [a, b]"],
  ["hosts", ["secret", "b", "c"], "write at most 2 items"],
  ["part", null, "write an object, as { name: value }"],
  ["level", "secret", "write low or high"],
  ["until", "secret", "write a time as 2027-01-01T00:00:00Z"],
  ["at", "secret", "write a URL, as https://host.example"],
  ["sha", "secret", "its own words"],
])("%s that is %j: %s", (name, value, words) => {
  const parsed = file.safeParse({ ...right, [name]: value }, { error: inputWords });
  expect(parsed.error?.issues[0]?.message).toBe(words);
});

test("a field that is not of the input is named; what is right has no words", () => {
  const wordsFor = (input: object) =>
    file.safeParse(input, { error: inputWords }).error?.issues.map((it) => it.message);
  expect(wordsFor({ ...right, extra: 1 })).toEqual(['there is no "extra" here']);
  expect(wordsFor(right)).toBeUndefined();
});

test("a sentence has its place, and never a library's words", () => {
  const deep = z.strictObject({
    a: z.strictObject({ b: z.number().default(1), c: z.union([z.number(), z.boolean()]).default(1) }).prefault({}),
    d: z.record(z.string().regex(/^[a-z]$/, "one letter"), z.string()).default({}),
  });
  const words = (value: unknown) =>
    deep.safeParse(value, { error: inputWords }).error?.issues.map((issue) => placedWords(issue));
  expect(words({ a: { b: "secret" } })).toEqual(["a.b: write a number"]);
  expect(words({ a: { c: "secret" } })).toEqual(["check a.c"]);
  expect(words({ a: { x: "secret" }, y: 1 })).toEqual(['unknown setting "a.x"', 'unknown setting "y"']);
  expect(words({ d: { A: "secret" } })).toEqual(["d.A: one letter"]);
  expect(words([])).toEqual(["write an object, as { name: value }"]);
});
