import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  CARRIED_MAX_CHARACTERS,
  decodeCarried,
  decodeVisit,
  encodeVisit,
  VISIT_MAX_CHARACTERS,
  withFields,
  type LaneVisit,
} from "./visit.ts";

const visit: LaneVisit = {
  requestId: "req_0123456789abcdefghjk",
  target: "wiki",
  prefix: "",
  path: "/a%20b?x=1&y=%5C",
  host: "acme.example.com:8787",
  scheme: "https",
  clientAddress: "2001:db8::1",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  withoutCookies: false,
  urgency: 3,
  firstByteMs: null,
  idleMs: null,
  totalMs: null,
  trace: false,
};

test("a visit becomes one readable header value and back", () => {
  const text = encodeVisit(visit) ?? "";
  expect(text).toBe(
    "31    req_0123456789abcdefghjk wiki 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 " +
      "acme.example.com:8787 2001:db8::1  v1 /a%20b?x=1&y=%5C",
  );
  expect(decodeVisit(text)).toEqual(visit);
});

test("whatever visitors send survives, and what is sent is a header that no hop changes", () => {
  const name = fc.stringMatching(/^[a-z0-9_-]{1,30}$/);
  const anything = fc.string({ unit: "binary", maxLength: 40 });
  const ms = fc.option(fc.nat());
  const visits = fc.record({
    requestId: name,
    target: name,
    prefix: anything,
    path: anything.map((path) => `/${path}`),
    host: anything.filter((host) => host !== ""),
    scheme: fc.constantFrom("http" as const, "https" as const),
    clientAddress: fc.option(anything.filter((address) => address !== "")),
    traceparent: name,
    withoutCookies: fc.boolean(),
    urgency: fc.integer({ min: 0, max: 7 }),
    firstByteMs: ms,
    idleMs: ms,
    totalMs: ms,
    trace: fc.boolean(),
  });
  fc.assert(
    fc.property(visits, (each) => {
      const text = encodeVisit(each) ?? "";
      expect(text).toMatch(/^[\x20-\x7e]+$/);
      expect(new Headers({ "causeway-visit": text }).get("causeway-visit")).toBe(text);
      expect(decodeVisit(text)).toEqual(each);
    }),
  );
});

test("what is not a visit is none", () => {
  const text = encodeVisit(visit) ?? "";
  for (const wrong of [
    "",
    "x",
    "{}",
    text.replace("v1", "v2"),
    `${text} `,
    text.replace("31 ", "98 "),
    text.slice(1),
  ]) {
    expect(decodeVisit(wrong)).toBeNull();
  }
  expect(decodeVisit(text.replace("31  ", "31 1e3 "))).toBeNull();
  fc.assert(fc.property(fc.string({ unit: "binary" }), (noise) => void decodeVisit(noise)));
});

test("it is bounded", () => {
  expect(encodeVisit({ ...visit, path: `/${"x".repeat(VISIT_MAX_CHARACTERS)}` })).toBeNull();
  expect(decodeVisit(`${encodeVisit(visit) ?? ""}${"x".repeat(VISIT_MAX_CHARACTERS)}`)).toBeNull();
});

test("a visit carries the visitor's fields, whatever they say, in a header that no hop changes", () => {
  const name = fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,20}$/);
  const value = fc.string({ unit: "binary", maxLength: 40 });
  const said = encodeVisit({ ...visit, path: "/\t\\ü" }) ?? "";
  const decoded = decodeVisit(said);
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 8 }), (fields) => {
      const text = withFields(said, fields) ?? "";
      expect(new Headers({ "causeway-visit": text }).get("causeway-visit")).toBe(text);
      expect(decodeCarried(text)).toEqual({ visit: decoded, fields: fields.length === 0 ? null : fields });
    }),
  );
});

test("blanks at the end of the last field stay, as where two of a name were joined", () => {
  const text = withFields(encodeVisit(visit) ?? "", [["x-two", "a, "]]) ?? "";
  expect(new Headers({ "causeway-visit": text }).get("causeway-visit")).toBe(text);
  expect(decodeCarried(text)?.fields).toEqual([["x-two", "a, "]]);
});

test("fields that were cut, or are too long, are no fields", () => {
  const text = withFields(encodeVisit(visit) ?? "", [["accept", "text/html"]]) ?? "";
  for (const wrong of [
    `${text}x`,
    text.slice(0, -1),
    text.replace("6 9", "6 x"),
    text.slice(0, text.lastIndexOf("\t")),
  ])
    expect(decodeCarried(wrong)).toBeNull();
  expect(withFields("1", [["accept", "x".repeat(CARRIED_MAX_CHARACTERS)]])).toBeNull();
  expect(decodeCarried(`${text}${"x".repeat(CARRIED_MAX_CHARACTERS)}`)).toBeNull();
  fc.assert(fc.property(fc.string({ unit: "binary" }), (noise) => void decodeCarried(`${text}${noise}`)));
});

test("who the visitor is travels behind the path, whatever stands in it", () => {
  const who = fc.array(fc.tuple(fc.stringMatching(/^causeway-[a-z]{1,9}$/), fc.stringMatching(/^[!-~]{1,60}$/)), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(who, (identity) => {
      const said = encodeVisit({ ...visit, identity });
      expect(decodeVisit(said ?? "")).toEqual({ ...visit, identity });
    }),
  );
  expect(decodeVisit(`${encodeVisit(visit) ?? ""} nothing`)).toBeNull();
  expect(decodeVisit(`${encodeVisit(visit) ?? ""} `)).toBeNull();
});
