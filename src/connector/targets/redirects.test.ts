import { expect, test } from "vitest";
import { redirected } from "./redirects.ts";

const origin = new URL("http://10.0.0.5:3000/");
const from = (method: string, body: "none" | "kept" | "gone" = "none") => ({ method, path: "/a/b?c", body });

test.each([
  [301, "GET", "none", { method: "GET", keepBody: false }],
  [302, "POST", "kept", { method: "GET", keepBody: false }],
  [301, "PUT", "kept", { method: "PUT", keepBody: true }],
  [303, "PUT", "kept", { method: "GET", keepBody: false }],
  [303, "HEAD", "none", { method: "HEAD", keepBody: false }],
  [307, "POST", "kept", { method: "POST", keepBody: true }],
  [308, "DELETE", "none", { method: "DELETE", keepBody: false }],
  [307, "POST", "gone", null],
  [303, "POST", "gone", null],
  [304, "GET", "none", null],
  [300, "GET", "none", null],
] as const)("%i of a %s with body %s", (status, method, body, expected) => {
  const next = redirected(from(method, body), status, "/next", origin);
  expect(next).toEqual(expected === null ? null : { ...expected, path: "/next" });
});

test.each([
  ["x?y", "/a/x?y"],
  ["../%2e%2e/z", "/z"],
  ["http://10.0.0.5:3000", "/"],
  ["?q#f", "/a/b?q"],
  ["http://10.0.0.5:3001/", null],
  ["https://10.0.0.5:3000/", null],
  ["//evil.example/", null],
  ["http://u:p@10.0.0.5:3000/", null],
  ["http://[", null],
  [null, null],
])("a Location %o leads to %o", (location, path) => {
  expect(redirected(from("GET"), 302, location, origin)?.path ?? null).toBe(path);
});
