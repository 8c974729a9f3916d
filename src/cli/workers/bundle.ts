import { builtinModules } from "node:module";
import { join } from "node:path";
import { type Plugin, build } from "esbuild";
import { CliError, EXIT } from "../frame/exit.ts";
import { PACKAGE_ROOT } from "../local/paths.ts";

/** Node's modules without their prefix (`crypto`) are the runtime's own ones (`node:crypto`). */
const nodeBuiltins: Plugin = {
  name: "node-builtins",
  setup(setup) {
    const bare = new Set(builtinModules.filter((name) => !name.startsWith("_")));
    setup.onResolve({ filter: /^[a-z_/0-9]+$/ }, ({ path }) =>
      bare.has(path) ? { path: `node:${path}`, external: true } : undefined,
    );
  },
};

/** Bundles one Worker as a single ES module, the way workerd wants it. The result is `<outDir>/worker.js`. */
export async function bundleWorker(entry: string, outDir: string): Promise<void> {
  try {
    await build({
      entryPoints: [entry],
      outfile: join(outDir, "worker.js"),
      bundle: true,
      format: "esm",
      target: "es2024",
      conditions: ["workerd", "worker", "browser"],
      mainFields: ["browser", "module", "main"],
      external: ["node:*", "cloudflare:*"],
      plugins: [nodeBuiltins],
      loader: { ".sql": "text", ".html": "text", ".txt": "text" },
      define: { "process.env.NODE_ENV": '"production"' },
      jsx: "automatic",
      jsxImportSource: "hono/jsx",
      // Keeping them costs a call for every function that is made: for each request, some ten.
      keepNames: false,
      sourcemap: "linked",
      absWorkingDir: PACKAGE_ROOT,
      logLevel: "silent",
    });
  } catch (cause) {
    throw new CliError(
      EXIT.failed,
      `${entry} can't be bundled: ${cause instanceof Error ? cause.message : String(cause)}`,
      null,
      { cause },
    );
  }
}
