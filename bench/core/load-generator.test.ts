import { expect, test } from "vitest";
import { headerLines, parseOutcome, wrkArguments } from "./load-generator.ts";

const load = {
  url: "http://127.0.0.1:9/x",
  headers: { host: "a.example", "x-token": "s3cret" },
  connections: 64,
  seconds: 3,
};

test("headers go to wrk by the environment, so that no token shows in a process list", () => {
  expect(wrkArguments(load).join(" ")).toMatch(/^-t1 -c64 -d3s .* http:\/\/127\.0\.0\.1:9\/x$/);
  expect(wrkArguments(load).join(" ")).not.toContain("s3cret");
  expect(headerLines(load.headers)).toBe("Host: a.example\nx-token: s3cret");
});

test("the result is the JSON line among what a generator prints", () => {
  const outcome = { requests: 9, seconds: 1.5, p50Ms: 0.2, p99Ms: 4, failed: 1 };
  expect(parseOutcome(`Running 3s test\n  1 threads\nJSON ${JSON.stringify(outcome)}\n`)).toEqual(outcome);
});

test("no result line, or one of another shape, is no result", () => {
  expect(parseOutcome("unable to connect\n")).toBeNull();
  expect(parseOutcome('JSON {"requests":1}\n')).toBeNull();
});
