import * as fc from "fast-check";
import { expect, test } from "vitest";
import { splitUrl } from "./visit.ts";

test.each([
  ["http://acme.example.com", "acme.example.com", "/", ""],
  ["http://acme.example.com/", "acme.example.com", "/", ""],
  ["http://acme.example.com:8787/app?x=1?2", "acme.example.com:8787", "/app", "?x=1?2"],
  ["http://acme.example.com?x=/", "acme.example.com", "/", "?x=/"],
  ["https://a/%2e%2e/b%2Fc//d?%20=%2F", "a", "/%2e%2e/b%2Fc//d", "?%20=%2F"],
  ["http://a/x#y?z", "a", "/x", ""],
  ["http://a/x?y#z", "a", "/x", "?y"],
])("%s comes apart without a change", (url, authority, rawPath, rawQuery) => {
  expect(splitUrl(url)).toEqual({ authority, rawPath, rawQuery });
});

test("the parts of any URL make it up again", () => {
  fc.assert(
    fc.property(fc.webUrl({ withQueryParameters: true }), (url) => {
      const { authority, rawPath, rawQuery } = splitUrl(url);
      const path = new URL(url).pathname === "/" && !url.includes(`${authority}/`) ? "" : rawPath;
      expect(`${url.slice(0, url.indexOf("://"))}://${authority}${path}${rawQuery}`).toBe(url);
    }),
  );
});
