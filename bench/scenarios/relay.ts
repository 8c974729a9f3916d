import { stopAll } from "../core/children.ts";
import type { Measurement, Scenario, Setup } from "../core/types.ts";
import { startConnector, TARGET } from "./connector.ts";
import { startProduct } from "./product.ts";
import { publishTenant, TENANT } from "./tenant.ts";
import { pathThrough, startOrigin, startYardsticks } from "./yardsticks.ts";

/** A visitor's request through the relay to a target behind a connector, beside what runtime and target cost without it. */
export function relayScenario(measurement: Measurement): Scenario {
  return { name: "relay", title: "edge → relay → connector → target", measurement, start };
}

async function start(folder: string): Promise<Setup> {
  const cleanUp: (() => Promise<void>)[] = [];
  const stop = () => stopAll(cleanUp);
  try {
    const target = await startOrigin(folder);
    cleanUp.push(target.child.stop);
    const product = await startProduct(folder);
    cleanUp.push(product.child.stop);
    await product.call([publishTenant(null, [])]);
    const connector = await startConnector(folder, product, target.url);
    cleanUp.push(connector.child.stop);
    const yardsticks = await startYardsticks(folder, { "bare-proxy": target.url });
    cleanUp.push(yardsticks.child.stop);
    return {
      paths: [
        pathThrough([target], { key: "direct", title: "target", kind: "yardstick" }),
        pathThrough([yardsticks.hop("bare-proxy"), target], {
          key: "bare-proxy",
          title: "bare proxy Worker → target",
          kind: "yardstick",
        }),
        pathThrough([yardsticks.hop("null-object")], {
          key: "null-object",
          title: "Worker → Durable Object that answers (the null object)",
          kind: "yardstick",
        }),
        pathThrough([product, connector, target], {
          key: "edge-relay",
          title: "edge → lane object → connector → target",
          kind: "subject",
          headers: async () => ({ host: `${TARGET}--${TENANT.host}` }),
        }),
      ],
      ratios: [
        { of: "edge-relay", to: "null-object" },
        { of: "edge-relay", to: "bare-proxy" },
      ],
      versions: {},
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
