import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { buildSync } from "esbuild";
import { defineProject } from "vitest/config";
import { bundleWorker } from "../../../src/cli/workers/bundle.ts";

// wrangler wants addresses before it reads ours below.
for (const name of ["CONTROL_DB", "CLUSTER_DB_DEFAULT"])
  process.env[`CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_${name}`] ??= "postgres://127.0.0.1:1/none";
process.env["CREDENTIAL_KEY"] ??= "";

const COMPATIBILITY_DATE = "2026-11-01";

/** One of the Workers beside the provisioner, with the real objects inside. */
function bundle(file: string): string {
  const built = buildSync({
    entryPoints: [join(import.meta.dirname, "fixtures", file)],
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker"],
    external: ["node:*", "cloudflare:*"],
    write: false,
  });
  return built.outputFiles[0]?.text ?? "";
}

/** The real portal. */
async function portal(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "causeway-portal-"));
  try {
    await bundleWorker(join(import.meta.dirname, "../../../src/portal/worker.ts"), folder);
    return readFileSync(join(folder, "worker.js"), "utf8");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
const portalScript = await portal();

const lane = (side: "a" | "b") => ({
  name: `causeway-relay-${side}`,
  modules: true,
  script: bundle("lane.ts"),
  compatibilityDate: COMPATIBILITY_DATE,
  bindings: { LANE: side },
  durableObjects: { LANE_OBJECT: { className: "Lane", useSQLite: true } },
  queueProducers: { EVENTS: "lane-events" },
});

export default defineProject({
  plugins: [
    cloudflareTest(({ inject }) => ({
      wrangler: { configPath: "../../../src/provisioner/wrangler.toml" },
      miniflare: {
        // No test asks a resolver that is not of this machine.
        bindings: { CREDENTIAL_KEY: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", DNS_RESOLVER_URL: "" },
        hyperdrives: {
          CONTROL_DB: inject("database").provisionerUrl,
          CLUSTER_DB_DEFAULT: inject("database").provisionerUrl,
        },
        workers: [
          {
            name: "causeway-relay-control",
            modules: true,
            script: bundle("control.ts"),
            compatibilityDate: COMPATIBILITY_DATE,
            durableObjects: {
              DIRECTORY: { className: "Directory", useSQLite: true },
              NODE_CHANNEL: { className: "NodeChannel", useSQLite: true },
            },
            kvNamespaces: { DIRECTORY_COPY: "directory-copy" },
          },
          {
            name: "causeway-portal",
            modules: true,
            script: portalScript,
            compatibilityDate: COMPATIBILITY_DATE,
            bindings: {
              BASE_DOMAINS: "causeway.localhost",
              PUBLIC_SCHEME: "http",
              PUBLIC_PORT: "",
              AUTH_SECRET: "a secret of at least thirty-two characters",
              SESSION_PRIVATE_KEY: "",
            },
            hyperdrives: { PORTAL_DB: inject("database").portalUrl },
            durableObjects: { DIRECTORY: { className: "Directory", scriptName: "causeway-relay-control" } },
          },
          lane("a"),
          lane("b"),
        ],
      },
    })),
  ],
  test: {
    name: "workerd-provisioner",
    include: ["**/*.test.ts"],
    globalSetup: ["../../support/postgres-setup.ts", "../../support/host-peers-setup.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
