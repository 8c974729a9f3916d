import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { openNodeChannelStore } from "../../../src/relay/node-channel-store.ts";
import { changesOf, channelOf, connect, enrolledNode, tenant, until, type Agent } from "./agent.ts";

const welcomeOf = (agent: Agent) => {
  const message = agent.messages[0];
  if (message?.type !== "welcome") throw new Error("no welcome");
  return message;
};

describe("what a node has to hold", () => {
  it("comes as a snapshot at first, then as changes in order", async () => {
    const node = await enrolledNode();
    const channel = channelOf(node.nodeId);
    await channel.push({ kind: "put", tenant: tenant("ten_a", 1) });
    await channel.push({ kind: "put", tenant: tenant("ten_b", 1) });
    const agent = await connect(node);
    await until("the snapshot", () => agent.messages.length === 2);
    expect(welcomeOf(agent)).toMatchObject({
      nodeId: node.nodeId,
      node: "walter-white",
      proofKeys: { keys: [{ kid: "edge-1" }] },
    });
    expect(agent.messages[1]).toMatchObject({
      type: "snapshot",
      seq: 2,
      last: true,
      tenants: [{ tenantId: "ten_a" }, { tenantId: "ten_b" }],
    });
    await channel.push({ kind: "put", tenant: tenant("ten_c", 1) });
    await channel.push({ kind: "remove", tenantId: "ten_a", revision: 2 });
    await until("both changes", () => changesOf(agent).length === 2);
    expect(changesOf(agent)).toEqual(["put ten_c 1", "remove ten_a 2"]);
  });

  it("comes to an agent that was away as each tenant's newest change only (H38)", async () => {
    const node = await enrolledNode();
    const channel = channelOf(node.nodeId);
    await channel.push({ kind: "put", tenant: tenant("ten_a", 1) });
    const first = await connect(node);
    await until("the snapshot", () => first.messages.length === 2);
    const { epoch } = welcomeOf(first);
    first.close();
    for (let revision = 2; revision <= 9; revision++)
      await channel.push({ kind: "put", tenant: tenant("ten_a", revision) });
    await channel.push({ kind: "put", tenant: tenant("ten_b", 1) });
    await channel.push({ kind: "remove", tenantId: "ten_b", revision: 2 });
    const second = await connect(node, { epoch, cursor: 1 });
    await until("the changes", () => changesOf(second).length === 2);
    expect(changesOf(second)).toEqual(["put ten_a 9", "remove ten_b 2"]);
  });

  it.each([
    ["of another epoch", "evt_other", 1],
    ["with a cursor from the future", "own", 99],
  ])("comes as a snapshot to an agent %s, with what is still to be removed", async (_what, epoch, cursor) => {
    const node = await enrolledNode();
    const channel = channelOf(node.nodeId);
    await channel.push({ kind: "put", tenant: tenant("ten_a", 1) });
    await channel.push({ kind: "put", tenant: tenant("ten_b", 1) });
    await channel.push({ kind: "remove", tenantId: "ten_b", revision: 2 });
    const probe = await connect(node);
    await until("the welcome", () => probe.messages.length > 0);
    const own = welcomeOf(probe).epoch;
    const agent = await connect(node, { epoch: epoch === "own" ? own : epoch, cursor });
    await until("everything", () => agent.messages.length === 3);
    expect(agent.messages[1]).toMatchObject({ type: "snapshot", seq: 3, last: true, tenants: [{ tenantId: "ten_a" }] });
    expect(agent.messages[2]).toMatchObject({
      type: "change",
      seq: 3,
      change: { kind: "remove", tenantId: "ten_b", revision: 2 },
    });
  });

  it("comes in parts when it is large", async () => {
    const node = await enrolledNode();
    const secrets = { KEY: "x".repeat(4_000) };
    const service = tenant("ten_x", 1).services[0];
    if (service === undefined) throw new Error("no service");
    for (let index = 0; index < 120; index++) {
      await channelOf(node.nodeId).push({
        kind: "put",
        tenant: tenant(`ten_${index}`, 1, { services: [{ ...service, secrets }] }),
      });
    }
    const agent = await connect(node);
    const parts = await until("the last part", () => {
      const found = agent.messages.filter((message) => message.type === "snapshot");
      return found.at(-1)?.last === true && found;
    });
    expect(parts.length).toBeGreaterThan(1);
    expect(parts.flatMap(({ tenants }) => tenants)).toHaveLength(120);
    for (const part of parts) expect(JSON.stringify(part).length).toBeLessThan(300 * 1024);
  });

  it("goes backwards never: older revisions are not applied, equal ones are repetitions (H39)", async () => {
    const node = await enrolledNode();
    const channel = channelOf(node.nodeId);
    expect(await channel.push({ kind: "put", tenant: tenant("ten_a", 5) })).toEqual({ applied: true, revision: 5 });
    expect(await channel.push({ kind: "put", tenant: tenant("ten_a", 4) })).toEqual({ applied: false, revision: 5 });
    expect(await channel.push({ kind: "put", tenant: tenant("ten_a", 5) })).toEqual({ applied: true, revision: 5 });
    expect(await channel.push({ kind: "remove", tenantId: "ten_a", revision: 4 })).toEqual({
      applied: false,
      revision: 5,
    });
    expect(await channel.push({ kind: "remove", tenantId: "ten_a", revision: 6 })).toEqual({
      applied: true,
      revision: 6,
    });
    expect(await channel.push({ kind: "put", tenant: tenant("ten_a", 6) })).toEqual({ applied: false, revision: 6 });
    const agent = await connect(node);
    await until("the snapshot", () => agent.messages.length === 3);
    expect(agent.messages[1]).toMatchObject({ type: "snapshot", seq: 2, tenants: [] });
    expect(changesOf(agent)).toEqual(["remove ten_a 6"]);
  });

  it("survives hibernation, and the agent's socket with it", async () => {
    const node = await enrolledNode();
    const channel = channelOf(node.nodeId);
    const agent = await connect(node);
    await until("the snapshot", () => agent.messages.length === 2);
    await evictDurableObject(channel);
    await channel.push({ kind: "put", tenant: tenant("ten_a", 1) });
    await until("the change", () => changesOf(agent).length === 1);
    agent.send({ type: "report", tenantId: "ten_a", revision: 1, state: "live", reason: null });
    expect(await channel.waitSettled("ten_a", 1, 5_000)).toMatchObject({ state: "live" });
    expect(await channel.presence()).toMatchObject({ online: true });
  });
});

describe("how far a tenant has come", () => {
  it("is pending, accepted, live or rejected, and waiting ends at the last two (E02)", async () => {
    const node = await enrolledNode();
    const channel = channelOf(node.nodeId);
    expect(await channel.status("ten_a")).toBeNull();
    await channel.push({ kind: "put", tenant: tenant("ten_a", 1) });
    expect(await channel.status("ten_a")).toEqual({ tenantId: "ten_a", revision: 1, state: "pending", reason: null });
    const agent = await connect(node);
    const live = channel.waitSettled("ten_a", 1, 10_000);
    agent.send({ type: "report", tenantId: "ten_a", revision: 1, state: "accepted", reason: null });
    await until("accepted", async () => (await channel.status("ten_a"))?.state === "accepted");
    agent.send({ type: "report", tenantId: "ten_a", revision: 1, state: "live", reason: null });
    expect(await live).toEqual({ tenantId: "ten_a", revision: 1, state: "live", reason: null });

    await channel.push({ kind: "put", tenant: tenant("ten_a", 2) });
    const rejected = channel.waitSettled("ten_a", 2, 10_000);
    agent.send({ type: "report", tenantId: "ten_a", revision: 1, state: "live", reason: null });
    agent.send({ type: "report", tenantId: "ten_a", revision: 2, state: "rejected", reason: "malformed IP address" });
    expect(await rejected).toEqual({
      tenantId: "ten_a",
      revision: 2,
      state: "rejected",
      reason: "malformed IP address",
    });
  });

  it("is what is known when the time is over", async () => {
    const node = await enrolledNode();
    const channel = channelOf(node.nodeId);
    await channel.push({ kind: "put", tenant: tenant("ten_a", 1) });
    expect(await channel.waitSettled("ten_a", 1, 50)).toMatchObject({ state: "pending" });
    await channel.push({ kind: "remove", tenantId: "ten_a", revision: 2 });
    expect(await channel.waitSettled("ten_a", 2, 50)).toMatchObject({ state: "pending", revision: 2 });
  });

  it("is null once the agent has let a removed tenant go, and not before", async () => {
    const node = await enrolledNode();
    const channel = channelOf(node.nodeId);
    await channel.push({ kind: "put", tenant: tenant("ten_a", 1) });
    const agent = await connect(node);
    await channel.push({ kind: "remove", tenantId: "ten_a", revision: 3 });
    const gone = channel.waitSettled("ten_a", 3, 10_000);
    agent.send({ type: "removed", tenantId: "ten_a", revision: 2 });
    agent.send({ type: "report", tenantId: "ten_a", revision: 1, state: "live", reason: null });
    await until("both were read", async () => (await channel.presence()).online);
    expect(await channel.status("ten_a")).toMatchObject({ state: "pending" });
    agent.send({ type: "removed", tenantId: "ten_a", revision: 3 });
    expect(await gone).toBeNull();
    expect(await channel.status("ten_a")).toBeNull();
  });
});

it("an agent that does not speak the protocol, or begins it twice, is cut off", async () => {
  const node = await enrolledNode();
  const agent = await connect(node);
  agent.sendText(JSON.stringify({ type: "unheard-of" }));
  expect((await agent.closed).code).toBe(1002);
  const again = await connect(node);
  again.send({ type: "hello", version: 1, agent: "test", epoch: null, cursor: 0 });
  expect((await again.closed).code).toBe(1002);
  expect(again.messages.filter(({ type }) => type === "welcome")).toHaveLength(1);
});

it("tombstones are bounded: an agent from before them gets a snapshot", async () => {
  const node = await enrolledNode();
  const channel = channelOf(node.nodeId);
  await runInDurableObject(channel, (_, state) => {
    const store = openNodeChannelStore(state.storage.sql, Date.now);
    for (let index = 0; index < 1_010; index++) {
      store.push({ kind: "put", tenant: tenant(`ten_${index}`, 1) });
      store.push({ kind: "remove", tenantId: `ten_${index}`, revision: 2 });
      store.gone(`ten_${index}`, 2);
    }
  });
  const first = await connect(node);
  await until("the welcome", () => first.messages.length > 0);
  const { epoch } = welcomeOf(first);
  const late = await connect(node, { epoch, cursor: 10 });
  await until("an answer", () => late.messages.length >= 2);
  expect(late.messages[1]).toMatchObject({ type: "snapshot", tenants: [] });
  const recent = await connect(node, { epoch, cursor: 1_900 });
  await until("the changes", () => changesOf(recent).length > 0);
  expect(recent.messages[1]?.type).toBe("change");
});
