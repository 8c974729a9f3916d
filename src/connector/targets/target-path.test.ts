import { expect, test } from "vitest";
import { targetPath } from "./target-path.ts";

test.each([
  ["/", "/", "/"],
  ["/", "/a/b?c=d&e=%2F", "/a/b?c=d&e=%2F"],
  ["/base", "/", "/base/"],
  ["/base/", "/x", "/base/x"],
  ["/", "//evil.example/x", "//evil.example/x"],
  ["/", "/a/../b/%2e%2e/c", "/a/../b/%2e%2e/c"],
  ["/", "/?", "/?"],
  ["/a%20b", "/ü", "/a%20b/ü"],
])("%s + %s = %s", (base, path, expected) => {
  expect(targetPath(base, path)).toBe(expected);
});

test.each([
  ["/plant", "/plant/x?y", "/base/x?y"],
  ["/plant", "/plant", "/base/"],
  ["/plant", "/plant?y", "/base/?y"],
  ["/plant", "/plants/x", "/base/plants/x"],
  ["/plant", "/%70lant/x", "/base/%70lant/x"],
  ["/plant", "/plant//x/../y", "/base//x/../y"],
])("without %s, %s is %s", (strip, path, expected) => {
  expect(targetPath("/base", path, strip)).toBe(expected);
});
