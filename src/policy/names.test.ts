import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NAME_PROBLEM_TEXT, parseSlug, parseTarget, RESERVED_NAMES, type NameProblem } from "./names.ts";

const problemOf = (result: ReturnType<typeof parseSlug>): NameProblem | "fine" => (result.ok ? "fine" : result.error);

describe("a tenant's slug", () => {
  test.each<[string, NameProblem | "fine"]>([
    ["acme", "fine"],
    ["acme-2", "fine"],
    ["a1b", "fine"],
    ["a".repeat(40), "fine"],
    ["a".repeat(41), "too-long"],
    ["ab", "too-short"],
    ["", "too-short"],
    ["Acme", "bad-characters"],
    ["acme_1", "bad-characters"],
    ["acmé", "bad-characters"],
    ["ac.me", "bad-characters"],
    ["acme\n", "bad-characters"],
    ["ac--me", "double-hyphen"],
    ["xn--acme", "double-hyphen"],
    ["1acme", "must-start-with-a-letter"],
    ["-acme", "must-start-with-a-letter"],
    ["acme-", "edge-hyphen"],
  ])("%j is %s", (slug, expected) => {
    expect(problemOf(parseSlug(slug))).toBe(expected);
  });

  test.each(["www", "auth", "api", "admin", "relay", "manager", "app", "connectors", "mail", "status"])(
    "%s is reserved",
    (slug) => {
      expect(problemOf(parseSlug(slug))).toBe("reserved");
    },
  );

  test("names of nodes and clusters are reserved where they are known", () => {
    expect(problemOf(parseSlug("walter-white"))).toBe("fine");
    expect(problemOf(parseSlug("walter-white", ["hank-schrader", "walter-white"]))).toBe("reserved");
  });

  test("every reserved name is lower case, so that the comparison finds it", () => {
    for (const name of RESERVED_NAMES) expect(name).toMatch(/^[a-z0-9-]+$/);
  });

  test("every problem has a sentence", () => {
    for (const text of Object.values(NAME_PROBLEM_TEXT)) expect(text).toMatch(/^[A-Z].+\.$/);
  });
});

describe("a target's name", () => {
  test.each<[string, NameProblem | "fine"]>([
    ["echo", "fine"],
    ["a", "fine"],
    ["1", "fine"],
    ["a".repeat(20), "fine"],
    ["a".repeat(21), "too-long"],
    ["", "too-short"],
    ["xn", "reserved"],
    ["a--b", "double-hyphen"],
    ["-a", "edge-hyphen"],
    ["a-", "edge-hyphen"],
    ["Echo", "bad-characters"],
  ])("%j is %s", (name, expected) => {
    expect(problemOf(parseTarget(name))).toBe(expected);
  });
});

test("target and slug always make one valid label that splits in one way only", () => {
  const characters = fc.constantFrom(..."abcxyz019-".split(""));
  const name = (maxLength: number) => fc.string({ unit: characters, minLength: 1, maxLength });
  fc.assert(
    fc.property(name(22), name(42), (target, slug) => {
      fc.pre(parseTarget(target).ok && parseSlug(slug).ok);
      const label = `${target}--${slug}`;
      expect(label).toMatch(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/);
      expect(label.startsWith("xn--")).toBe(false);
      expect(label.split("--")).toEqual([target, slug]);
    }),
  );
});
