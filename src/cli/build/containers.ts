import { chmodSync, cpSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { PACKAGE_ROOT } from "../local/paths.ts";

/** The images that we make: two of the product, and one with what the local stack's site and tenants run. */
export const CONTAINERS = ["connector", "node-agent", "demo"] as const;
type Container = (typeof CONTAINERS)[number];

/** Where the agent's image keeps its state: `stateDir` of its configuration. */
export const AGENT_STATE_DIR = "/var/lib/causeway/node";

/** What differs between the images: what is copied where, and what they run; arguments follow. */
const IMAGES: Record<Container, { copy: string; dirs: readonly string[]; entry: readonly string[] }> = {
  connector: { copy: "cli/ /opt/causeway/", dirs: [], entry: ["node", "/opt/causeway/causeway.js", "connect"] },
  "node-agent": {
    copy: "cli/ /opt/causeway/",
    // Volumes take owner and mode from these. Envoy and the agent share the inner two.
    dirs: [AGENT_STATE_DIR, `${AGENT_STATE_DIR}/envoy`, `${AGENT_STATE_DIR}/run`],
    entry: ["node", "/opt/causeway/causeway.js", "node", "run"],
  },
  demo: { copy: "app/ /opt/demo/", dirs: [], entry: ["node", "/opt/demo/target.mjs"] },
};

/** Fills one folder per image with a Docker build context. `cli` is the bundled command line. Answers the folders. */
export async function writeContainerContexts(cli: string, outDir: string): Promise<Map<Container, string>> {
  const written = new Map<Container, string>();
  for (const name of CONTAINERS) {
    const context = join(outDir, name);
    rmSync(context, { recursive: true, force: true });
    mkdirSync(context, { recursive: true });
    writeFileSync(join(context, "Dockerfile"), dockerfile(name));
    if (name === "demo") await bundleDemo(join(context, "app"));
    else cpSync(cli, join(context, "cli"), { recursive: true });
    readableForAll(context);
    written.set(name, context);
  }
  return written;
}

/** The image has Node, the program, and a user without rights. */
function dockerfile(name: Container): string {
  const { copy, dirs, entry } = IMAGES[name];
  const owned = dirs.length === 0 ? [] : [`RUN install -d -m 0700 -o $CAUSEWAY_UID -g $CAUSEWAY_GID ${dirs.join(" ")}`];
  return [
    "# Made by `npm run build`; the base image is an argument so that a mirror or a pinned digest can take its place.",
    "ARG NODE_IMAGE=node:24-bookworm-slim",
    "FROM ${NODE_IMAGE}",
    "ARG CAUSEWAY_UID=1000",
    "ARG CAUSEWAY_GID=1000",
    `COPY ${copy}`,
    ...owned,
    "USER $CAUSEWAY_UID:$CAUSEWAY_GID",
    `ENTRYPOINT ${JSON.stringify(entry)}`,
    "",
  ].join("\n");
}

/** The tenants' demo service and the demo target, each in one file. */
async function bundleDemo(outDir: string): Promise<void> {
  await build({
    entryPoints: {
      service: join(PACKAGE_ROOT, "local-stack/demo-service/main.ts"),
      target: join(PACKAGE_ROOT, "local-stack/demo-target/main.ts"),
    },
    outdir: outDir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    // ws is CommonJS and asks for `require`, which an ES module has not; it does without the two addons.
    banner: {
      js: 'import { createRequire as demoRequire } from "node:module"; const require = demoRequire(import.meta.url);',
    },
    external: ["bufferutil", "utf-8-validate"],
    absWorkingDir: PACKAGE_ROOT,
    logLevel: "warning",
  });
  cpSync(join(PACKAGE_ROOT, "local-stack/demo-target/public"), join(outDir, "public"), { recursive: true });
}

/** COPY and mounts keep modes: a clone made with umask 077 would be closed to the image's user. */
function readableForAll(folder: string): void {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const path = join(folder, entry);
    chmodSync(path, statSync(path).isDirectory() ? 0o755 : 0o644);
  }
}
