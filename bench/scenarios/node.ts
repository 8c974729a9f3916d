import { createProofSigner } from "../../src/edge-router/proof.ts";
import { createSigningKey } from "../../src/edge-router/signing-key.ts";
import { HEADER } from "../../src/protocol/headers.ts";
import { stopAll } from "../core/children.ts";
import type { Measurement, Scenario, Setup } from "../core/types.ts";
import { startEnvoy } from "./envoy.ts";
import { startProduct } from "./product.ts";
import { publishTenant, TENANT } from "./tenant.ts";
import { pathThrough, startOrigin, startYardsticks } from "./yardsticks.ts";

const SERVICE_PATH = "/app";

/** A visitor's request to a tenant's service on a node, beside what each hop costs alone. */
export function nodeScenario(measurement: Measurement): Scenario {
  return { name: "node", title: "edge → Envoy → service", measurement, start };
}

async function start(folder: string): Promise<Setup> {
  const cleanUp: (() => Promise<void>)[] = [];
  const stop = () => stopAll(cleanUp);
  try {
    const origin = await startOrigin(folder);
    cleanUp.push(origin.child.stop);
    const product = await startProduct(folder);
    cleanUp.push(product.child.stop);
    const envoy = await startEnvoy(
      folder,
      { id: TENANT.nodeId, proofKeys: [product.proofKey.public] },
      {
        tenantId: TENANT.id,
        slug: TENANT.slug,
        revision: 1,
        hosts: [TENANT.host],
        routes: [{ prefix: SERVICE_PATH, service: "app" }],
        services: [],
      },
      new Map([["app", { address: "127.0.0.1", port: Number(new URL(origin.url).port) }]]),
    );
    cleanUp.push(envoy.stopXds, envoy.child.stop);
    await product.call([
      publishTenant(envoy.url, [{ prefix: SERVICE_PATH, access: "public", to: { kind: "service", service: "app" } }]),
    ]);
    const yardsticks = await startYardsticks(folder, { "bare-proxy": origin.url, "bare-proxy-envoy": envoy.url });
    cleanUp.push(yardsticks.child.stop);

    // Envoy lets nobody through without the edge's proof; it is short-lived, so every slot gets it anew.
    const sign = createProofSigner(createSigningKey(JSON.stringify(product.proofKey.private), undefined), Date.now);
    const proof = async () => ({
      [HEADER.proof]: await sign({ host: TENANT.host, tenantId: TENANT.id, nodeId: TENANT.nodeId }),
    });
    const path = SERVICE_PATH;
    const yardstick = { kind: "yardstick", path } as const;
    return {
      paths: [
        pathThrough([origin], { ...yardstick, key: "direct", title: "service" }),
        pathThrough([envoy, origin], { ...yardstick, key: "envoy", title: "Envoy → service", headers: proof }),
        pathThrough([yardsticks.hop("bare-proxy"), origin], {
          ...yardstick,
          key: "bare-proxy",
          title: "bare proxy Worker → service",
        }),
        pathThrough([yardsticks.hop("bare-proxy-envoy"), envoy, origin], {
          ...yardstick,
          key: "bare-proxy-envoy",
          title: "bare proxy Worker → Envoy → service",
          headers: proof,
        }),
        pathThrough([product, envoy, origin], {
          key: "edge-node",
          title: "edge → Envoy → service",
          kind: "subject",
          path,
          headers: async () => ({ host: TENANT.host }),
        }),
      ],
      ratios: [
        { of: "edge-node", to: "bare-proxy-envoy" },
        { of: "edge-node", to: "bare-proxy" },
        { of: "edge-node", to: "envoy" },
      ],
      versions: { envoy: envoy.version },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
