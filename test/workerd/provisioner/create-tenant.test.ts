import { expect, test } from "vitest";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { bindings, lookup, makeCluster, operationOf, requestTenant, tenantRow, world } from "./support.ts";
test("first", async () => {
  const w = world();
  const { cluster, nodeIds } = await makeCluster(w);
  const { tenantId, operationId, host } = await requestTenant(cluster, "acme");
  const t0 = Date.now();
  await runOperation(w.ports, operationId);
  console.log(Date.now() - t0, "ms", w.logs);
  console.log(JSON.stringify(await operationOf(w, operationId)));
  console.log(JSON.stringify(await lookup(host)), await tenantRow(w, tenantId));
  console.log(JSON.stringify(await bindings.NODE_CHANNEL.getByName(nodeIds[0] ?? "").seen()));
});
