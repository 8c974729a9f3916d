import * as fc from "fast-check";
import { expect, test } from "vitest";
import { octetsOf, textOf } from "./octets.ts";

test("what the runtime read as UTF-8 goes as the octets that came, and comes back as text", () => {
  expect(octetsOf("ü €")).toBe("\u00c3\u00bc \u00e2\u0082\u00ac");
  expect(octetsOf("plain")).toBe("plain");
  fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 20 }), (text) => textOf(octetsOf(text)) === text));
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 20 }), (text) => /^[\0-\xff]*$/.test(octetsOf(text))));
});

test("octets that are no UTF-8 keep the characters of Latin-1", () => {
  expect(textOf("\u00fc")).toBe("\u00fc");
  expect(textOf("\u00c3\u00bc")).toBe("ü");
});
