import process from "node:process";
import { defineCommand } from "citty";
import manifest from "../../package.json" with { type: "json" };
import connect from "./commands/connect.ts";
import doctor from "./commands/doctor.ts";
import service from "./commands/service.ts";
import { runCommandLine, type AnyCommand } from "./frame/command.ts";

/** The connector alone, as sites get it (npm package, single executable): `causeway-connector connect`, `doctor`, `service`. */
const root: AnyCommand = defineCommand({
  meta: {
    name: "causeway-connector",
    version: manifest.version,
    description: "Connects a site's applications to a Causeway platform, by outgoing connections only",
  },
  subCommands: { connect, doctor, service },
});

// A log that can't be written, because its disk is full or its reader is gone, ends nothing; once there is room it goes on.
process.stderr.on("error", () => undefined);

async function main(argv: readonly string[]): Promise<void> {
  if (argv.length === 1 && (argv[0] === "--version" || argv[0] === "-v")) {
    process.stdout.write(`${manifest.version}\n`);
    return;
  }
  process.exitCode = await runCommandLine(root, argv, {
    name: "causeway-connector",
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    colour: process.stdout.isTTY,
  });
}

void main(process.argv.slice(2)); // an executable's program is CommonJS: no await at its top
