import { defineCommand } from "citty";
import { expect, test } from "vitest";
import { runCommandLine } from "./command.ts";
import { CliError, EXIT } from "./exit.ts";

const calls: unknown[] = [];
const root = defineCommand({
  meta: { name: "causeway", description: "Test" },
  subCommands: {
    tenant: () =>
      defineCommand({
        meta: { name: "tenant", description: "Tenants" },
        subCommands: {
          create: defineCommand({
            meta: { name: "create", description: "Make one" },
            args: {
              slug: { type: "positional", description: "Name", required: true },
              node: { type: "string", description: "Node", alias: "n" },
              wait: { type: "boolean", description: "Wait" },
            },
            run: ({ args }) => {
              calls.push({ slug: args.slug, node: args.node, wait: args.wait });
            },
          }),
        },
      }),
    fail: defineCommand({
      meta: { name: "fail", description: "Fails" },
      run: () => {
        throw new CliError(EXIT.environment, "port 1 is in use", "Choose another one.");
      },
    }),
  },
});

async function run(...argv: string[]) {
  const printed = { out: "", err: "" };
  const code = await runCommandLine(root, argv, {
    out: (text) => (printed.out += text),
    err: (text) => (printed.err += text),
    colour: false,
    name: "causeway",
  });
  return { code, ...printed };
}

test("a command gets its arguments", async () => {
  expect((await run("tenant", "create", "acme", "--node=x", "--wait")).code).toBe(EXIT.ok);
  expect(calls.at(-1)).toEqual({ slug: "acme", node: "x", wait: true });
});

test("help goes to stdout at every level, without running anything", async () => {
  const before = calls.length;
  for (const argv of [
    ["--help"],
    ["tenant", "-h"],
    ["tenant", "create", "--help"],
    ["tenant", "create", "x", "--wait", "-h"],
  ]) {
    const { code, out, err } = await run(...argv);
    expect([code, err]).toEqual([EXIT.ok, ""]);
    expect(out).toContain("USAGE");
  }
  expect(calls.length).toBe(before);
});

test("help says the whole command, and flags with values as people type them, aligned", async () => {
  const { out } = await run("tenant", "create", "--help");
  expect(out).toContain("USAGE causeway tenant create [OPTIONS] <SLUG>\n");
  expect(out).toContain("-n, --node NODE    Node\n");
  expect(out).toContain("         --wait    Wait\n");
  expect(out).not.toContain("=<");
  expect((await run("tenant", "--help")).out).toContain("USAGE causeway tenant create\n");
});

test.each([
  ["an unknown command", ["nope"], 'unknown command "nope"'],
  ["an unknown command below", ["tenant", "nope"], 'unknown command "nope"'],
  ["no command", [], "say which command"],
  ["a name of the object prototype", ["constructor"], 'unknown command "constructor"'],
  ["an unknown flag", ["tenant", "create", "x", "--nope"], "unknown option '--nope'"],
  ["a flag before the command", ["--nope"], 'unknown flag "--nope"'],
  ["a flag without its value", ["tenant", "create", "x", "--node"], "argument missing"],
  ["a missing positional", ["tenant", "create"], "SLUG"],
  ["one positional too many", ["tenant", "create", "x", "y"], 'unexpected argument "y"'],
])("%s is refused with the help on stderr and exit 2", async (_, argv, message) => {
  const before = calls.length;
  const { code, out, err } = await run(...argv);
  expect([code, out]).toEqual([EXIT.usage, ""]);
  expect(err).toContain("USAGE");
  expect(err).toContain(message);
  expect(calls.length).toBe(before);
});

test("an expected failure has its own exit code, its message and what to do next", async () => {
  expect(await run("fail")).toEqual({
    code: EXIT.environment,
    out: "",
    err: "causeway fail: port 1 is in use\n  Choose another one.\n",
  });
});
