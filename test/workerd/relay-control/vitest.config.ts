import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineProject } from "vitest/config";

export default defineProject({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: "../../../src/relay/relay-control.wrangler.toml" },
      miniflare: {
        bindings: {
          PROOF_PUBLIC_KEYS: JSON.stringify({
            keys: [{ kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid: "edge-1" }],
          }),
        },
      },
    }),
  ],
  test: { name: "workerd-relay-control", include: ["**/*.test.ts"], testTimeout: 20_000, hookTimeout: 60_000 },
});
