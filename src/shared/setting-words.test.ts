import { expect, test } from "vitest";
import { z } from "zod";
import { settingWords } from "./setting-words.ts";

const file = z.strictObject({
  name: z.string().min(1),
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
  ["port", "secret", "write a number"],
  ["port", 1.5, "write a whole number"],
  ["port", 0, "write at least 1"],
  ["port", 70_000, "write at most 65535"],
  ["on", "secret", "write true or false"],
  ["hosts", "secret", "write a list, as [a, b]"],
  ["hosts", ["secret", "b", "c"], "at most 2 are taken"],
  ["part", null, "write settings, as { name: value }"],
  ["level", "secret", "write low or high"],
  ["until", "secret", "write a time as 2027-01-01T00:00:00Z"],
  ["at", "secret", "write a URL, as https://host.example"],
  ["sha", "secret", "its own words"],
])("%s that is %j: %s", (name, value, words) => {
  const parsed = file.safeParse({ ...right, [name]: value }, { error: settingWords });
  expect(parsed.error?.issues[0]?.message).toBe(words);
});
