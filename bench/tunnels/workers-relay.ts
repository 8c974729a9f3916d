import { startConnector, TARGET } from "../scenarios/connector.ts";
import { startProduct } from "../scenarios/product.ts";
import { publishTenant, TENANT } from "../scenarios/tenant.ts";
import { pathThrough } from "../scenarios/yardsticks.ts";
import type { Tunnel } from "./tunnel.ts";

/** Ours on workerd: edge and lane objects in one `workerd serve`, the connector beside it. */
export const workersRelay: Tunnel = {
  key: "relay-workerd",
  title: "Causeway on workerd: edge → lane object → connector → origin",
  async start({ folder, origin, dial }) {
    const product = await startProduct(folder);
    try {
      await product.call([
        publishTenant(null, [{ prefix: "/", access: "public", to: { kind: "target", target: TARGET } }]),
      ]);
      const dialled = await dial(Number(new URL(product.url).port));
      const connector = await startConnector(folder, product, origin.url, dialled);
      return {
        path: pathThrough([product, connector, origin], {
          key: this.key,
          title: this.title,
          kind: "subject",
          headers: async () => ({ host: TENANT.host }),
        }),
        async stop() {
          await connector.child.stop();
          await product.child.stop();
        },
      };
    } catch (error) {
      await product.child.stop();
      throw error;
    }
  },
};
