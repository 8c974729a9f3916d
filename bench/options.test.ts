import { expect, test } from "vitest";
import { helpText, parseOptions } from "./options.ts";

const parse = (...args: string[]) => parseOptions(args, ["node", "relay"]);

test("without arguments everything is measured three times at 1 and 64 connections", () => {
  expect(parse()).toEqual({
    ok: true,
    value: {
      scenario: "all",
      repeats: 3,
      secondsPerSlot: 3,
      connections: [1, 64],
      json: false,
      help: false,
      paths: null,
    },
  });
});

test("a flag wins over --quick", () => {
  expect(parse("relay", "--quick", "--seconds", "2", "--connections", "64,1,64")).toEqual({
    ok: true,
    value: {
      scenario: "relay",
      repeats: 1,
      secondsPerSlot: 2,
      connections: [1, 64],
      json: false,
      help: false,
      paths: null,
    },
  });
});

test.each([
  [["nodes"], "no scenario"],
  [["node", "relay"], "One scenario"],
  [["--repeats", "0"], "--repeats"],
  [["--seconds", "1.5"], "--seconds"],
  [["--connections", "1,x"], "--connections"],
  [["--connections", ""], "--connections"],
  [["--fast"], "--fast"],
])("%j is a usage error that names the cause", (args, cause) => {
  const result = parse(...args);
  expect(result).toEqual({ ok: false, error: expect.stringContaining(cause) });
});

test("the help names every scenario", () => {
  const text = helpText([{ name: "node", title: "edge to node" }]);
  expect(text).toContain("node            edge to node");
});
