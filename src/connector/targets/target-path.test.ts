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
