#!/usr/bin/env node
// Starts the command line on the Node that the package brings (the sources are TypeScript, which Node >= 24 runs as it is).
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const own = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const node = existsSync(own) ? own : process.execPath;
const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  console.error(`causeway: ${error.message}. Run "npm ci" first.`);
  process.exit(4);
});
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
