import { expect, test } from "vitest";
import { runCommandLine } from "./frame/command.ts";
import { EXIT } from "./frame/exit.ts";
import { root } from "./root.ts";

async function run(argv: readonly string[]) {
  const printed = { out: "", err: "" };
  const code = await runCommandLine(root, argv, {
    name: "causeway",
    out: (text) => (printed.out += text),
    err: (text) => (printed.err += text),
    colour: false,
  });
  return { code, ...printed };
}

interface Found {
  readonly path: readonly string[];
  readonly help: string;
  readonly isGroup: boolean;
}

/** Every command, found by walking the help of every group. */
async function commands(path: readonly string[] = []): Promise<Found[]> {
  const { code, out, err } = await run([...path, "--help"]);
  expect([code, err], path.join(" ")).toEqual([EXIT.ok, ""]);
  const listed = out.split(/^COMMANDS$/m)[1];
  if (listed === undefined) return [{ path, help: out, isGroup: false }];
  const names = [...listed.matchAll(/^ {2,}([a-z][a-z-]*) {2}/gm)].flatMap((match) => match[1] ?? []);
  const below = await Promise.all(names.map((name) => commands([...path, name])));
  return [{ path, help: out, isGroup: true }, ...below.flat()];
}

/** Print no data: they run until stopped, or only do something (and show what a service manager says). */
const WITHOUT_DATA = new Set([
  "down",
  "logs",
  "connect",
  "relay",
  "node run",
  "service install",
  "service uninstall",
  "service status",
]);

test(
  "every command has help, one that prints data has --json, and none takes an unknown flag",
  { timeout: 60_000 },
  async () => {
    const all = await commands();
    expect(all.map(({ path }) => path.join(" "))).toEqual(
      expect.arrayContaining([
        "up",
        "down",
        "status",
        "logs",
        "connect",
        "migrate",
        "tenant create",
        "connector create",
        "node enroll",
        "node run",
        "operation show",
        "operation retry",
        "token create",
        "keys proof",
      ]),
    );
    for (const { path, help, isGroup } of all) {
      const name = path.join(" ");
      const refused = await run([...path, isGroup ? "no-such-command" : "--no-such-flag"]);
      expect([refused.code, refused.out], name).toEqual([EXIT.usage, ""]);
      expect(refused.err, name).toContain("USAGE");
      if (isGroup) expect((await run(path)).code, name).toBe(EXIT.usage);
      else if (!WITHOUT_DATA.has(name)) expect(help, name).toContain("--json");
    }
  },
);
