import { expect, test } from "vitest";
import { readableLog } from "./readable-log.ts";

const time = "2026-01-02T03:04:05.678Z";
const clock = new Date(time).toTimeString().slice(0, 8);

test("lines of the log become lines for people", () => {
  const one = JSON.stringify({
    time,
    level: "info",
    part: "connector",
    msg: "link is up",
    lane: "a",
    port: 0,
    ok: false,
  });
  const two = JSON.stringify({
    time,
    level: "error",
    part: "connector",
    msg: "refused",
    reason: "no, not\nyou",
    none: null,
  });
  expect(readableLog(`${one}\n${two}\n`)).toBe(
    `${clock}  INFO   link is up  lane=a  port=0  ok=false\n${clock}  ERROR  refused  reason="no, not\\nyou"\n`,
  );
});

test("what is not of ours stays, and nothing can steer the terminal", () => {
  for (const text of ["Error: x\n    at y", "{", '{"a":1}', ""]) expect(readableLog(text)).toBe(text);
  const evil = JSON.stringify({ time, level: "info", msg: "request", path: "/\u001b[2J" });
  expect(readableLog(evil)).toContain('path="/\\u001b[2J"');
});
