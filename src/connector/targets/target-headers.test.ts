import { expect, test } from "vitest";
import { headerPairs, targetRequestHeaders, targetResponseHeaders, valuesOf } from "./target-headers.ts";

test("fields of one hop, those that Connection lists, Host and Expect stay behind; the rest keeps order, case and duplicates", () => {
  const result = targetRequestHeaders([
    ["Host", "acme.example.com"],
    ["X-One", "1"],
    ["Connection", "keep-alive, X-Secret-Hop"],
    ["x-secret-hop", "a"],
    ["Keep-Alive", "timeout=5"],
    ["TE", "trailers"],
    ["Transfer-Encoding", "chunked"],
    ["Upgrade", "h2c"],
    ["Proxy-Authorization", "Basic x"],
    ["Expect", "100-continue"],
    ["Cookie", "a=1"],
    ["Cookie", "b=2"],
    ["X-Forwarded-Host", "acme.example.com"],
    ["Content-Length", "12"],
    ["X-Empty", ""],
  ]);
  expect(result).toEqual({
    ok: true,
    value: {
      list: [
        ["X-One", "1"],
        ["Cookie", "a=1"],
        ["Cookie", "b=2"],
        ["X-Forwarded-Host", "acme.example.com"],
        ["X-Empty", ""],
      ],
      contentLength: 12,
    },
  });
});

test.each(["-1", "1e3", "0x10", "5, 5", "", "+5", "9999999999999999"])("content-length %o is refused", (value) => {
  expect(targetRequestHeaders([["content-length", value]]).ok).toBe(false);
});

test("the same length twice is one, two different ones are refused", () => {
  const twice = (second: string) =>
    targetRequestHeaders([
      ["Content-Length", "5"],
      ["content-length", second],
    ]);
  expect(twice("5")).toMatchObject({ ok: true, value: { contentLength: 5 } });
  expect(twice("6")).toEqual({ ok: false, error: "two different content-lengths" });
});

test("an answer keeps repeated set-cookie and bytes above ASCII", () => {
  const raw = [
    "Set-Cookie",
    "a=1",
    "set-cookie",
    "b=2",
    "Connection",
    "close, X-Hop",
    "X-Hop",
    "1",
    "X-Name",
    "caf\u00e9",
  ];
  expect(targetResponseHeaders(headerPairs(raw.map((text) => Buffer.from(text, "latin1"))))).toEqual([
    ["Set-Cookie", "a=1"],
    ["set-cookie", "b=2"],
    ["X-Name", "caf\u00e9"],
  ]);
  const framed = headerPairs(["Transfer-Encoding", "chunked", "Trailer", "x-sum", "A", "b"]);
  expect(targetResponseHeaders(framed)).toEqual([["A", "b"]]);
});

test("values of a field come in order", () => {
  expect(
    valuesOf(
      [
        ["A", "1"],
        ["b", "2"],
        ["a", "3"],
      ],
      "a",
    ),
  ).toEqual(["1", "3"]);
});
