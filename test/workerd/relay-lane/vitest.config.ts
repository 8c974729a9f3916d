import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineProject } from "vitest/config";

const COMPATIBILITY_DATE = "2026-11-01";

/** Stands for relay-control: the lane's Worker needs one lookup of it. */
const control = `
  import { DurableObject } from "cloudflare:workers";
  const TENANTS = {
    "acme.causeway.localhost": { tenantId: "ten_acme", slug: "acme", cluster: "main" },
    "globex.causeway.localhost": { tenantId: "ten_globex", slug: "globex", cluster: "main" },
    "acme.eu.causeway.localhost": { tenantId: "ten_acme_eu", slug: "acme", cluster: "eu" },
  };
  export class Directory extends DurableObject {
    async lookup(host) {
      if (host.startsWith("broken.")) throw new Error("no directory");
      return TENANTS[host] ?? null;
    }
  }
  export default { fetch: () => new Response(null, { status: 404 }) };
`;

/** Keeps what came through the queue of events. */
const sink = `
  const seen = [];
  export default {
    queue: (batch) => { for (const { body } of batch.messages) seen.push(body); },
    fetch: () => Response.json(seen),
  };
`;

export default defineProject({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: "../../../src/relay/relay-a.wrangler.toml" },
      miniflare: {
        bindings: {
          BASE_DOMAINS: "causeway.localhost,eu.causeway.localhost",
          RELAY_TOKEN_KEY: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
          FIRST_BYTE_SECONDS: "2",
          IDLE_SECONDS: "3",
        },
        serviceBindings: { SINK: "sink" },
        workers: [
          {
            name: "causeway-relay-control",
            modules: true,
            script: control,
            compatibilityDate: COMPATIBILITY_DATE,
            durableObjects: { DIRECTORY: { className: "Directory", useSQLite: true } },
          },
          {
            name: "sink",
            modules: true,
            script: sink,
            compatibilityDate: COMPATIBILITY_DATE,
            queueConsumers: { "causeway-events": { maxBatchSize: 10, maxBatchTimeout: 0 } },
          },
        ],
      },
    }),
  ],
  test: { name: "workerd-relay-lane", include: ["**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 },
});
