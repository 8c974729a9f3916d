import { enableCompileCache } from "node:module";
import process from "node:process";
import { runCommandLine } from "./frame/command.ts";
import { EXIT } from "./frame/exit.ts";
import { COMPILE_CACHE } from "./local/paths.ts";
import { root, version } from "./root.ts";

// Commands start in half the time. Not for the bundle, which has no folder of its own to write to.
if (import.meta.filename.endsWith("main.ts")) enableCompileCache(COMPILE_CACHE);

// `causeway logs | head` is no error.
process.stdout.on("error", (error) => {
  if ("code" in error && error.code === "EPIPE") process.exit(EXIT.ok);
  throw error;
});
// A log that can't be written, because its disk is full or its reader is gone, ends nothing; once there is room it goes on.
process.stderr.on("error", () => undefined);

const argv = process.argv.slice(2);
if (argv.length === 1 && (argv[0] === "--version" || argv[0] === "-v")) {
  process.stdout.write(`${version}\n`);
} else {
  process.exitCode = await runCommandLine(root, argv, {
    name: "causeway",
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    colour: process.stdout.isTTY,
  });
}
