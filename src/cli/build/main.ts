import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { defineCommand } from "citty";
import { runCommandLine } from "../frame/command.ts";
import { createOutput } from "../frame/output.ts";
import { PACKAGE_ROOT } from "../local/paths.ts";
import { bundleWorker } from "../workers/bundle.ts";
import { prepareOptions } from "../workers/options.ts";
import { bundleCli } from "./bundle-cli.ts";
import { writeConnectorExecutable, writeConnectorPackage } from "./connector.ts";
import { writeContainerContexts } from "./containers.ts";

const build = defineCommand({
  meta: {
    name: "npm run build --",
    description: "Fill dist/: the Workers, the command line, the containers' contexts",
  },
  args: { json: { type: "boolean", description: "Print what was built as one JSON object a line" } },
  async run({ args }) {
    const output = createOutput(args.json === true);
    const dist = join(PACKAGE_ROOT, "dist");
    const built = (what: string, path: string) => output.data({ what, path }, `✓ ${what}: ${path}`);

    const workers = join(dist, "workers");
    const cli = join(dist, "cli");
    const containers = join(dist, "container");
    for (const folder of [workers, cli, containers, join(dist, "npm"), join(dist, "bin")]) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
    }
    const entries = await prepareOptions(workers);
    for (const [name, main] of entries) await bundleWorker(main, join(workers, name));
    built(`${entries.size} Workers`, workers);

    await bundleCli(cli);
    built("command line", join(cli, "causeway.js"));

    const npm = join(dist, "npm");
    await writeConnectorPackage(npm);
    built("npm package of the connector", npm);
    const single = await writeConnectorExecutable(join(dist, "bin"));
    if ("file" in single) built("connector in one executable", single.file);
    else output.say(`no single executable: ${single.skipped}`);

    for (const [name, context] of await writeContainerContexts(cli, containers)) {
      built(`context of the ${name} container`, context);
    }
  },
});

process.exitCode = await runCommandLine(build, process.argv.slice(2), {
  name: "build",
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  colour: process.stdout.isTTY,
});
process.exit(); // wrangler leaves handles open.
