import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineProject } from "vitest/config";

/** Keeps what came through the queue of events. */
const sink = `
  const seen = [];
  export default {
    queue: (batch) => { for (const { body } of batch.messages) seen.push(body); },
    fetch: () => Response.json(seen),
  };
`;

const PROOF_KEYS = {
  keys: [{ kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid: "edge-1" }],
};

export default defineProject({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: "../../../src/relay/relay-control.wrangler.toml" },
      miniflare: {
        bindings: { PROOF_PUBLIC_KEYS: JSON.stringify(PROOF_KEYS) },
        serviceBindings: { SINK: "sink" },
        workers: [
          {
            name: "sink",
            modules: true,
            script: sink,
            compatibilityDate: "2026-11-01",
            queueConsumers: { "causeway-events": { maxBatchSize: 10, maxBatchTimeout: 0 } },
          },
        ],
      },
    }),
  ],
  test: { name: "workerd-relay-control", include: ["**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 },
});
