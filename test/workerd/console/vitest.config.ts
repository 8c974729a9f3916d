import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineProject } from "vitest/config";

/** Stands for the portal: the console needs its entrypoint only. */
const portal = `
  import { WorkerEntrypoint } from "cloudflare:workers";
  export class Members extends WorkerEntrypoint {
    async ensureMember({ email, tenantId }) {
      if (email.startsWith("broken")) throw new Error("no database");
      return { accountId: "account-of-" + email, created: true };
    }
  }
  export default { fetch: () => new Response(null, { status: 404 }) };
`;

// wrangler wants an address before it reads ours below.
process.env["CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_CONTROL_DB"] ??= "postgres://127.0.0.1:1/none";

export default defineProject({
  plugins: [
    cloudflareTest(({ inject }) => ({
      wrangler: { configPath: "../../../src/console/wrangler.toml" },
      miniflare: {
        hyperdrives: { CONTROL_DB: inject("database").consoleUrl },
        workers: [{ name: "causeway-portal", modules: true, script: portal, compatibilityDate: "2026-11-01" }],
      },
    })),
  ],
  test: {
    name: "workerd-console",
    include: ["**/*.test.ts"],
    globalSetup: ["../../support/postgres-setup.ts"],
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
