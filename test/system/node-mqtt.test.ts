import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { selfSigned } from "../support/certificate.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { DEMO_COMMANDS, demoTenant, startTestNode, type TestNode } from "../support/node.ts";
import { BROKER, device, hex, withBroker, type Device } from "../support/mqtt.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";

// Devices speak MQTT over TLS to the real broker of their tenant (mosquitto), which the server name in their handshake chooses.
let host: ChannelHost;
let node: TestNode;
let mqttPort: number;
const first = selfSigned({ dns: ["*.causeway.localhost"] });

const put = async (tenant: NodeTenant) => {
  const channel = host.channel(node.nodeId);
  await channel.push({ kind: "put", tenant });
  expect(await channel.waitSettled(tenant.tenantId, tenant.revision, 30_000)).toMatchObject({ state: "live" });
};

beforeAll(async () => {
  if (!["/usr/sbin", ...(process.env["PATH"] ?? "").split(":")].some((dir) => existsSync(join(dir, "mosquitto"))))
    throw new Error("these tests need mosquitto: apt-get install mosquitto");
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  [mqttPort = 0] = await freePorts(1);
  node = await startTestNode(host, key, {
    config: { commands: { ...DEMO_COMMANDS, broker: BROKER } },
    files: { "tls.crt": first.cert, "tls.key": first.key },
    envoy: { tls: { certificateFile: "tls.crt", keyFile: "tls.key" }, mqttPort },
  });
  await put(withBroker(demoTenant("ten_acme", 1)));
  await put(withBroker(demoTenant("ten_globex", 1)));
  await put(demoTenant("ten_plain", 1));
});
afterAll(async () => {
  await node.stop();
  await host.close();
  await stopChildren();
});

const fingerprint = ({ socket }: Device): string => socket.getPeerX509Certificate()?.fingerprint256 ?? "";

test("devices reach the broker of the tenant that they name, and nobody else's (E10)", async () => {
  const [acme, sameTenant, globex] = await Promise.all([
    device(mqttPort, "acme.causeway.localhost"),
    device(mqttPort, "ACME.Causeway.localhost"),
    device(mqttPort, "globex.causeway.localhost"),
  ]);
  acme.publish("line/1", "from acme");
  globex.publish("line/1", "from globex");
  await until(
    "both have theirs",
    () => sameTenant.heard().includes(hex("from acme")) && globex.heard().includes(hex("from globex")),
  );
  expect(globex.heard()).not.toContain(hex("from acme"));
  expect(acme.heard()).not.toContain(hex("from globex"));
  for (const each of [acme, sameTenant, globex]) each.socket.destroy();
});

test.each([
  ["an unknown name", "nobody.causeway.localhost"],
  ["a tenant without a broker", "plain.causeway.localhost"],
  ["no name", ""],
])("%s is closed before the handshake ends (E10)", async (_what, serverName) => {
  await expect(device(mqttPort, serverName)).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) });
});

test("changes of tenants and of the certificate touch no open connection (E09, E10)", { timeout: 60_000 }, async () => {
  const old = await device(mqttPort, "acme.causeway.localhost");
  const before = fingerprint(old);
  await put(
    withBroker(demoTenant("ten_globex", 2, { hosts: ["globex.causeway.localhost", "other.causeway.localhost"] })),
  );
  await put(withBroker(demoTenant("ten_acme", 2, { hosts: ["acme.causeway.localhost", "more.causeway.localhost"] })));
  (await device(mqttPort, "more.causeway.localhost")).socket.destroy();

  const second = selfSigned({ dns: ["*.causeway.localhost"] });
  writeFileSync(join(node.dir, "tls.crt"), second.cert);
  await until("the mistake is reported", () => node.log().includes("the key is not that of the certificate"));
  const meanwhile = await device(mqttPort, "acme.causeway.localhost");
  expect(fingerprint(meanwhile)).toBe(before);
  meanwhile.socket.destroy();
  writeFileSync(join(node.dir, "tls.key"), second.key);
  await until("new connections see the new certificate", async () => {
    const fresh = await device(mqttPort, "acme.causeway.localhost");
    fresh.socket.destroy();
    return fingerprint(fresh) !== before;
  });

  old.ping();
  await until("the old connection still answers", () => old.heard().endsWith("d000"));
  old.socket.destroy();
  expect(node.log() + readFileSync(join(node.dir, "agent.json"), "utf8")).not.toContain("PRIVATE KEY");
});

test("an agent that starts with files that don't fit leaves Envoy the certificate of before", async () => {
  const before = await device(mqttPort, "acme.causeway.localhost");
  writeFileSync(join(node.dir, "tls.crt"), first.cert);
  await node.end("SIGKILL");
  await node.start();
  const after = await device(mqttPort, "acme.causeway.localhost");
  expect(fingerprint(after)).toBe(fingerprint(before));
  expect(node.log()).toContain("the one of before stays");
  for (const each of [before, after]) each.socket.destroy();
});

test("the edge's requests come over TLS, too", async () => {
  const proof = await node.proofFor("ten_acme", "acme.causeway.localhost");
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const url = new URL("/app", node.url.replace("http:", "https:"));
  request(url, { headers: { "causeway-proof": proof }, rejectUnauthorized: false, agent: false }, (response) => {
    response.resume();
    resolve(response.statusCode);
  })
    .on("error", reject)
    .end();
  expect(await promise).toBe(200);
});
