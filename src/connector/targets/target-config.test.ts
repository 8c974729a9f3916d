import { expect, test } from "vitest";
import { TARGET_ANSWER_TIMEOUT_MS } from "../limits.ts";
import { parseTargetOption } from "./target-config.ts";

test("a target has a name and an address", () => {
  expect(parseTargetOption("demo=http://127.0.0.1:3000/base")).toEqual({
    ok: true,
    value: {
      kind: "web",
      name: "demo",
      url: new URL("http://127.0.0.1:3000/base"),
      timeoutMs: TARGET_ANSWER_TIMEOUT_MS,
    },
  });
  expect(parseTargetOption("a=https://x.local#timeout=2.5")).toMatchObject({
    value: { timeoutMs: 2500, url: new URL("https://x.local/") },
  });
});

test("debug targets have short names", () => {
  expect(parseTargetOption("echo")).toEqual({ ok: true, value: { kind: "echo", name: "echo" } });
  expect(parseTargetOption("mirror=debug:echo")).toEqual({ ok: true, value: { kind: "echo", name: "mirror" } });
  expect(parseTargetOption("up=debug:ping")).toEqual({ ok: true, value: { kind: "ping", name: "up" } });
});

test.each([
  ["demo", "needs an address"],
  ["=http://x", "too short"],
  ["De mo=http://x", "lower-case"],
  ["a--b=http://x", "hyphens"],
  ["demo=127.0.0.1:3000", "URL"],
  ["demo=ftp://x", "http"],
  ["demo=http://user:pw@x", "password"],
  ["demo=http://x?y", "query"],
  ["demo=http://x#timeout=soon", "seconds"],
  ["demo=http://x#retries=3", "unknown option"],
])("%s is refused", (option, words) => {
  const parsed = parseTargetOption(option);
  expect(parsed.ok).toBe(false);
  if (!parsed.ok) expect(parsed.error).toContain(words);
});
