import { afterAll, beforeAll, expect, test } from "vitest";
import { stopChildren } from "../support/children.ts";
import { newProofKey, type ProofKey } from "../support/envoy.ts";
import { demoTenant, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";

let key: ProofKey;
let host: ChannelHost;
let node: TestNode;

beforeAll(async () => {
  key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  node = await startTestNode(host, key);
});

afterAll(async () => {
  await node.stop();
  await host.close();
  await stopChildren();
});

const ACME = "ten_acme";
const ACME_HOST = "acme.causeway.localhost";

test("a tenant is pushed, started, accepted and live (H30, H34, H43, E02)", async () => {
  const channel = host.channel(node.nodeId);
  expect(await channel.push({ kind: "put", tenant: demoTenant(ACME, 1) })).toEqual({ applied: true, revision: 1 });
  expect(await channel.waitSettled(ACME, 1, 20_000)).toEqual({
    tenantId: ACME,
    revision: 1,
    state: "live",
    reason: null,
  });
  for (const service of ["app", "connectors", "manager"]) {
    const answer = await node.ask(ACME, ACME_HOST, `/${service}/x?y=1`);
    expect(JSON.parse(answer.body)).toMatchObject({
      service,
      tenant: "acme",
      node: "walter-white",
      host: ACME_HOST,
      path: `/${service}/x?y=1`,
    });
  }
});
