import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { argv, exit } from "node:process";
import { bundleWorker } from "../workers/bundle.ts";
import { prepareOptions } from "../workers/options.ts";

/** Child process of `causeway up`: bundles all Workers into the folder given. A process of its own, so that it can use the other core. */
const [, , buildDir] = argv;
if (buildDir === undefined) exit(2);
try {
  mkdirSync(buildDir, { recursive: true });
  const entries = await prepareOptions(buildDir);
  await Promise.all([...entries].map(([name, main]) => bundleWorker(main, join(buildDir, name))));
  exit(0); // wrangler leaves handles open.
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  exit(1);
}
