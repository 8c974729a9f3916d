import { generateKeyPairSync } from "node:crypto";
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

/** The real portal, and the real edge. */
async function realWorker(role: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), `causeway-${role}-`));
  try {
    await bundleWorker(join(import.meta.dirname, `../../../src/${role}/worker.ts`), folder);
    return readFileSync(join(folder, "worker.js"), "utf8");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
const portalScript = await realWorker("portal");
const edgeScript = await realWorker("edge-router");
const { privateKey } = generateKeyPairSync("ed25519");
const proofKey = JSON.stringify({ ...privateKey.export({ format: "jwk" }), kid: "test", alg: "EdDSA" });

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
        // Jobs may call the test's own server.
        bindings: {
          CREDENTIAL_KEY: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
          DNS_RESOLVER_URL: "",
          WEBHOOK_ALLOWED_HOSTS: "127.0.0.1",
        },
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
          {
            name: "causeway-edge",
            modules: true,
            script: edgeScript,
            compatibilityDate: COMPATIBILITY_DATE,
            bindings: {
              BASE_DOMAINS: "causeway.localhost",
              PUBLIC_SCHEME: "http",
              PUBLIC_PORT: "",
              CLIENT_ADDRESS_HEADER: "",
              SESSION_PUBLIC_KEYS: '{"keys":[]}',
              PROOF_PRIVATE_KEY: proofKey,
            },
            durableObjects: {
              DIRECTORY: { className: "Directory", scriptName: "causeway-relay-control" },
              LANE_A: { className: "Lane", scriptName: "causeway-relay-a" },
              LANE_B: { className: "Lane", scriptName: "causeway-relay-b" },
            },
            kvNamespaces: { DIRECTORY_COPY: "directory-copy" },
            serviceBindings: { PORTAL_SESSIONS: { name: "causeway-portal", entrypoint: "Sessions" } },
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
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
