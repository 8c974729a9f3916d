import { expect, test } from "vitest";
import { withOwnOrigin } from "./own-origin.ts";

const url = new URL("http://127.0.0.1:8888/base");
const request = [
  ["X-Forwarded-Proto", "https"],
  ["X-Forwarded-Host", "nb--acme.example.com"],
] as const;

test.each([
  ["the visitor's own page", "https://nb--acme.example.com", "http://127.0.0.1:8888"],
  ["its default port written out", "https://nb--acme.example.com:443", "http://127.0.0.1:8888"],
  ["another host", "https://evil.example", null],
  ["another scheme", "http://nb--acme.example.com", null],
  ["another port", "https://nb--acme.example.com:8443", null],
  ["a longer name", "https://nb--acme.example.com.evil.example", null],
  ["a sandboxed page", "null", null],
  ["the target's own", "http://127.0.0.1:8888", null],
])("the Origin of %s", (_, origin, expected) => {
  const fields = withOwnOrigin(url, request, [
    ["Accept", "*/*"],
    ["origin", origin],
  ]);
  expect(fields).toEqual(
    expected === null
      ? null
      : [
          ["Accept", "*/*"],
          ["origin", expected],
        ],
  );
});

test("the Host that is sent is the one that it names", () => {
  const fields = [
    ["Host", "erp.example"],
    ["Origin", "https://nb--acme.example.com"],
  ] as const;
  expect(withOwnOrigin(url, request, fields)).toContainEqual(["Origin", "http://erp.example"]);
});

test("none, two, or a visitor whose place is unknown: nothing is changed", () => {
  const origin = ["Origin", "https://nb--acme.example.com"] as const;
  expect(withOwnOrigin(url, request, [])).toBeNull();
  expect(withOwnOrigin(url, request, [origin, origin])).toBeNull();
  expect(withOwnOrigin(url, [], [origin])).toBeNull();
});
