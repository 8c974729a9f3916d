import { expect, test } from "vitest";
import { isFetchableUrl } from "./issuer-url.ts";

test.each([
  ["https://login.example.com/realm", true],
  ["http://127.0.0.1:9000", true],
  ["http://[::1]:9000/x", true],
  ["http://localhost:1", true],
  ["http://login.example.com", false],
  ["http://10.0.0.1", false],
  ["http://169.254.169.254/latest", false],
  ["http://127.0.0.1.evil.example", false],
  ["http://localhost.evil.example", false],
  ["https://user:pass@login.example.com", false],
  ["file:///etc/passwd", false],
  ["ftp://127.0.0.1", false],
  ["nonsense", false],
])("%s may be fetched: %s", (url, wanted) => {
  expect(isFetchableUrl(url)).toBe(wanted);
});
