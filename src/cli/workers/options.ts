import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeJson } from "../local/files.ts";
import { WORKERS, configPath } from "./list.ts";

/** What Miniflare needs to know of one Worker beside its code, read from its wrangler file by wrangler itself. */
const workerOptions = z.looseObject({
  bindings: z.record(z.string(), z.json()),
  hyperdrives: z.record(z.string(), z.string()),
  durableObjects: z.record(z.string(), z.union([z.string(), z.looseObject({ className: z.string() })])).default({}),
});
const optionsFile = z.record(z.string(), z.object({ main: z.string(), options: workerOptions }));
export type PreparedOptions = z.infer<typeof optionsFile>;

const OPTIONS_FILE = "options.json";
/** Stands for every Hyperdrive address until the host puts the real ones in; wrangler refuses a binding without. */
const NO_DATABASE = "postgres://nobody:nothing@127.0.0.1:1/none";

/**
 * Reads all wrangler files. Loading wrangler takes most of a second, so this runs beside other steps, once per start, and the Workers host
 * reads its result. Answers each Worker's entry file.
 */
export async function prepareOptions(buildDir: string): Promise<Map<string, string>> {
  // Its warnings are about secrets, which the host puts in.
  process.env["WRANGLER_LOG"] ??= "error";
  const { unstable_getMiniflareWorkerOptions: read } = await import("wrangler");
  const prepared: PreparedOptions = {};
  for (const worker of WORKERS) {
    for (const binding of hyperdriveBindings(readFileSync(configPath(worker), "utf8"))) {
      process.env[`CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_${binding}`] = NO_DATABASE;
    }
    const { workerOptions: options, main } = read(configPath(worker));
    // Ours are bundled already; wrangler's rules for other files and its idea of the root don't apply.
    const { modulesRules: _rules, rootPath: _root, ...rest } = options;
    prepared[worker.name] = {
      main: z.string().parse(main),
      options: workerOptions.parse(JSON.parse(JSON.stringify(rest))),
    };
  }
  writeJson(join(buildDir, OPTIONS_FILE), prepared);
  return new Map(Object.entries(prepared).map(([name, { main }]) => [name, main]));
}

export const readOptions = (buildDir: string): PreparedOptions =>
  optionsFile.parse(JSON.parse(readFileSync(join(buildDir, OPTIONS_FILE), "utf8")));

function hyperdriveBindings(toml: string): string[] {
  return [...toml.matchAll(/\[\[hyperdrive\]\]\s+binding = "([A-Z_]+)"/g)].flatMap((match) => match[1] ?? []);
}
