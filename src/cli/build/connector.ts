import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { z } from "zod";
import { PACKAGE_ROOT } from "../local/paths.ts";

const manifest = z.object({
  version: z.string(),
  license: z.string(),
  optionalDependencies: z.object({ bufferutil: z.string() }),
});
const ENTRY = join(PACKAGE_ROOT, "src/cli/connector-root.ts");
/** In every Node executable, for what is put into it. */
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";
const NATIVE = ["bufferutil", "utf-8-validate"];

/** The connector as npm package: one file beside its manifest. `npm publish` takes the folder as it is. */
export async function writeConnectorPackage(outDir: string): Promise<void> {
  mkdirSync(outDir, { recursive: true });
  await build({
    entryPoints: { "causeway-connector": ENTRY },
    outdir: outDir,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    external: NATIVE,
    banner: {
      js: '#!/usr/bin/env node\nimport { createRequire as causewayRequire } from "node:module"; const require = causewayRequire(import.meta.url);',
    },
    absWorkingDir: PACKAGE_ROOT,
    logLevel: "warning",
  });
  chmodSync(join(outDir, "causeway-connector.js"), 0o755);
  const { version, license, optionalDependencies } = readManifest();
  const own = {
    name: "causeway-connector",
    version,
    description: "Connects a site's applications to a Causeway platform, by outgoing connections only",
    license,
    type: "module",
    bin: { "causeway-connector": "causeway-connector.js" },
    files: ["causeway-connector.js", "README.md", "LICENSE"],
    engines: { node: ">=24" },
    // Native masking of WebSocket frames: a tenth of a connector's CPU under bulk. It does without where it can't be had (src/connector/masking.ts).
    optionalDependencies: { bufferutil: optionalDependencies.bufferutil },
  };
  writeFileSync(join(outDir, "package.json"), `${JSON.stringify(own, null, 2)}\n`);
  copyFileSync(join(PACKAGE_ROOT, "docs/connector.md"), join(outDir, "README.md"));
  if (existsSync(join(PACKAGE_ROOT, "LICENSE"))) cpSync(join(PACKAGE_ROOT, "LICENSE"), join(outDir, "LICENSE"));
}

/**
 * The connector as one executable for this platform, which needs nothing installed: Node's own with the program inside (single executable
 * application). Addons can't be inside, so it masks by itself (src/connector/masking.ts). Answers the file, or why there is none.
 */
export async function writeConnectorExecutable(
  outDir: string,
): Promise<{ readonly file: string } | { readonly skipped: string }> {
  if (process.platform === "darwin") return { skipped: "on macOS the executable must be signed after it was made" };
  mkdirSync(outDir, { recursive: true });
  const main = join(outDir, "connector.cjs");
  const blob = join(outDir, "connector.blob");
  const config = join(outDir, "sea-config.json");
  await build({
    entryPoints: [ENTRY],
    outfile: main,
    bundle: true,
    minify: true,
    keepNames: true,
    format: "cjs",
    platform: "node",
    target: "node24",
    external: NATIVE,
    // Where the program is means nothing inside of it.
    define: { "import.meta.url": "undefined" },
    absWorkingDir: PACKAGE_ROOT,
    logLevel: "warning",
  });
  writeFileSync(
    config,
    JSON.stringify({ main, output: blob, disableExperimentalSEAWarning: true, useCodeCache: true, useSnapshot: false }),
  );
  runNode("Node made no blob of the connector", ["--experimental-sea-config", config]);
  const file = join(outDir, `causeway-connector${process.platform === "win32" ? ".exe" : ""}`);
  copyFileSync(process.execPath, file);
  chmodSync(file, 0o755);
  const postject = fileURLToPath(import.meta.resolve("postject/dist/cli.js"));
  runNode("the blob could not be put into the executable", [
    postject,
    file,
    "NODE_SEA_BLOB",
    blob,
    "--sentinel-fuse",
    FUSE,
  ]);
  for (const part of [main, blob, config]) rmSync(part);
  return { file };
}

function runNode(failure: string, args: readonly string[]): void {
  const ran = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${failure}: ${ran.stderr}${ran.stdout}`);
}

const readManifest = (): z.infer<typeof manifest> =>
  manifest.parse(createRequire(import.meta.url)(join(PACKAGE_ROOT, "package.json")));
