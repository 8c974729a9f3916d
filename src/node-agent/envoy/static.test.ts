import { expect, test } from "vitest";
import type { PublicJwk } from "../../protocol/jwk.ts";
import { renderEdgeCluster, renderMasterListeners, renderTunnelCluster } from "./master.ts";
import { renderBootstrap, renderListeners, renderProofFilter } from "./static.ts";

const ports = { address: "0.0.0.0", port: 10000, adminPort: 10001, tls: false, mqttPort: null };
const paths = {
  xdsSocket: "/var/lib/causeway/run/xds.sock",
  probeSocket: "/var/lib/causeway/run/probe.sock",
  tunnelSocket: "/var/lib/causeway/run/mqtt.sock",
  gateSocket: "/var/lib/causeway/run/gate.sock",
  listenersDir: "/var/lib/causeway/envoy/listeners",
  filtersDir: "/var/lib/causeway/envoy/filters",
  secretsDir: "/var/lib/causeway/envoy/secrets",
};
const key: PublicJwk = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid: "edge-1" };

test.each([
  ["bootstrap", renderBootstrap("walter-white", ports, paths)],
  ["listeners", renderListeners(ports, paths)],
  ["listeners-tls", renderListeners({ ...ports, tls: true, mqttPort: 8883 }, paths)],
  [
    "listeners-for-masters",
    renderListeners({ ...ports, masters: { address: "0.0.0.0", port: 10443, names: ["master-1.internal"] } }, paths),
  ],
  ["listeners-master", renderMasterListeners({ ...ports, tls: true, mqttPort: 8883 }, paths)],
  [
    "bootstrap-master",
    renderBootstrap("master-1", ports, paths, [
      renderEdgeCluster({ scheme: "https", host: "edge.example.com", port: 443, caFile: null }),
      renderTunnelCluster(paths),
    ]),
  ],
  ["proof-filter", renderProofFilter("nod_1", [key], "edge-1")],
])("%s.json is what it was", async (name, json) => {
  await expect(`${JSON.stringify(json, null, 2)}\n`).toMatchFileSnapshot(
    `../../../test/golden/node-agent/${name}.json`,
  );
});

test("without any key of the edge a key that nobody has is asked for, not nothing", () => {
  const filter = JSON.stringify(renderProofFilter("nod_1", [], ""));
  expect(filter).toContain(String.raw`\"kid\":\"nobody\"`);
  expect(filter).toContain('"require_expiration":true');
});
