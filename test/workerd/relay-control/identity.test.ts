import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { channelOf, connect, dial, enrol, enrolledNode, hashOf, makeKey, newNode, SECRET, until } from "./agent.ts";

const eventsOf = async (nodeId: string): Promise<string[]> => {
  const seen: { kind: string; nodeId?: string }[] = await (await env.SINK.fetch("http://sink/")).json();
  return seen.filter((event) => event.nodeId === nodeId).map(({ kind }) => kind);
};

describe("enrolment", () => {
  it("buys the right to one key with a one-time token", async () => {
    const nodeId = await newNode();
    expect(await channelOf(nodeId).presence()).toEqual({ online: false, sinceMs: null, enrolled: false });
    const key = await makeKey("first");
    const response = await enrol(nodeId, key.jwk);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ nodeId, node: "walter-white" });
    expect(await channelOf(nodeId).presence()).toMatchObject({ enrolled: true });
    await until("the event", async () => (await eventsOf(nodeId)).includes("node-enrolled"));
  });

  it("answers a repeated request the same, and refuses a second key for a used token", async () => {
    const nodeId = await newNode();
    const key = await makeKey("first");
    expect((await enrol(nodeId, key.jwk)).status).toBe(200);
    expect((await enrol(nodeId, key.jwk)).status).toBe(200);
    const second = await enrol(nodeId, (await makeKey("second")).jwk);
    expect(second.status).toBe(401);
    expect(second.headers.get("causeway-error")).toBe("unauthorized");
    expect((await dial(await key.sign({ nodeId }))).status).toBe(101);
  });

  it("stays used when the control plane publishes the same enrolment again", async () => {
    const { nodeId } = await enrolledNode();
    const enrolment = { secretHash: await hashOf(SECRET), expiresAtMs: Date.now() + 60_000 };
    await channelOf(nodeId).putGrant({ nodeId, node: "walter-white", revision: 2, disabled: false, enrolment });
    expect((await enrol(nodeId, (await makeKey("thief")).jwk)).status).toBe(401);
  });

  it("refuses wrong, expired, closed and malformed tokens, and bodies that are none", async () => {
    const { jwk } = await makeKey("key");
    expect((await enrol(await newNode(), jwk, "wrong")).status).toBe(401);
    const expired = { secretHash: await hashOf(SECRET), expiresAtMs: Date.now() - 1 };
    expect((await enrol(await newNode({ enrolment: expired }), jwk)).status).toBe(401);
    expect((await enrol(await newNode({ enrolment: null }), jwk)).status).toBe(401);
    expect((await enrol(await newNode({ disabled: true }), jwk)).status).toBe(401);
    expect((await enrol("nod_0000000000000000none", jwk)).status).toBe(401);
    expect((await enrol("../etc", jwk)).status).toBe(401);
    expect((await enrol(await newNode(), Object.assign({}, jwk, { d: "private" }))).status).toBe(400);
    expect((await enrol(await newNode(), jwk, "x".repeat(8_000))).status).toBe(413);
  });

  it("of two requests with one token lets one through", async () => {
    const nodeId = await newNode();
    const keys = await Promise.all([makeKey("one"), makeKey("two")]);
    const statuses = await Promise.all(keys.map(async ({ jwk }) => (await enrol(nodeId, jwk)).status));
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 401]);
  });

  it("anew replaces the key and ends the old agent", async () => {
    const node = await enrolledNode();
    const old = await connect(node);
    await until("online", async () => (await channelOf(node.nodeId).presence()).online);
    const enrolment = { secretHash: await hashOf("another"), expiresAtMs: Date.now() + 60_000 };
    await channelOf(node.nodeId).putGrant({
      nodeId: node.nodeId,
      node: "walter-white",
      revision: 2,
      disabled: false,
      enrolment,
    });
    const key = await makeKey("anew");
    expect((await enrol(node.nodeId, key.jwk, "another")).status).toBe(200);
    expect((await old.closed).code).toBe(4403);
    expect((await dial(await node.key.sign({ nodeId: node.nodeId }))).status).toBe(401);
    expect((await dial(await key.sign({ nodeId: node.nodeId }))).status).toBe(101);
  });
});

describe("an agent's assertion", () => {
  it("is needed, and must be by a registered key, for this relay, fresh, short-lived and unused", async () => {
    const { nodeId, key } = await enrolledNode();
    const now = Math.floor(Date.now() / 1_000);
    const stranger = await makeKey(key.jwk.kid);
    const refused = [
      null,
      "nonsense",
      await stranger.sign({ nodeId }),
      await key.sign({ nodeId, audience: "http://relay.other.example" }),
      await key.sign({ nodeId, issuedAt: now - 600 }),
      await key.sign({ nodeId, issuedAt: now + 600 }),
      await key.sign({ nodeId, lifetimeSeconds: 3_600 }),
    ];
    for (const token of refused) expect((await dial(token)).status).toBe(401);
    const once = await key.sign({ nodeId });
    expect((await dial(once)).status).toBe(101);
    expect((await dial(once)).status).toBe(401);
  });

  it("opens only its own node's channel", async () => {
    const [mine, other] = [await enrolledNode(), await enrolledNode()];
    expect((await dial(await mine.key.sign({ nodeId: other.nodeId }))).status).toBe(401);
  });

  it("is refused for nodes that nobody made, and leaves no trace of them", async () => {
    const key = await makeKey("key");
    const nodeId = "nod_00000000000000000000";
    expect((await dial(await key.sign({ nodeId }))).status).toBe(401);
    expect(await channelOf(nodeId).presence()).toEqual({ online: false, sinceMs: null, enrolled: false });
  });
});

describe("presence", () => {
  it("is told as events and on demand; the newest agent wins and the older is told why", async () => {
    const node = await enrolledNode();
    const first = await connect(node);
    await until("online", async () => (await channelOf(node.nodeId).presence()).online);
    const second = await connect(node);
    expect(await first.closed).toEqual({ code: 4409, reason: "another agent of this node has connected" });
    await until("the second is welcome", () => second.messages.length > 0);
    expect(await channelOf(node.nodeId).presence()).toMatchObject({ online: true, enrolled: true });
    second.close();
    await until("offline", async () => !(await channelOf(node.nodeId).presence()).online);
    await until("the events", async () => (await eventsOf(node.nodeId)).includes("node-offline"));
    expect(await eventsOf(node.nodeId)).toEqual(["node-enrolled", "node-online", "node-online", "node-offline"]);
  });

  it("ends when the node is disabled; an older grant can't enable it again", async () => {
    const node = await enrolledNode();
    const agent = await connect(node);
    await until("online", async () => (await channelOf(node.nodeId).presence()).online);
    const grant = { nodeId: node.nodeId, node: "walter-white", enrolment: null };
    expect(await channelOf(node.nodeId).putGrant({ ...grant, revision: 5, disabled: true })).toEqual({
      applied: true,
      revision: 5,
    });
    expect((await agent.closed).code).toBe(4403);
    expect(await channelOf(node.nodeId).putGrant({ ...grant, revision: 4, disabled: false })).toEqual({
      applied: false,
      revision: 5,
    });
    expect((await dial(await node.key.sign({ nodeId: node.nodeId }))).status).toBe(403);
    expect(await channelOf(node.nodeId).putGrant({ ...grant, revision: 6, disabled: false })).toEqual({
      applied: true,
      revision: 6,
    });
    expect((await dial(await node.key.sign({ nodeId: node.nodeId }))).status).toBe(101);
  });
});

it("answers 404 elsewhere and 400 without an upgrade", async () => {
  const { exports } = await import("cloudflare:workers");
  expect((await exports.default.fetch(new Request("http://relay.causeway.localhost/other"))).status).toBe(404);
  expect((await exports.default.fetch(new Request("http://relay.causeway.localhost/node"))).status).toBe(400);
  expect((await exports.default.fetch(new Request("http://relay.causeway.localhost/node/enroll"))).status).toBe(400);
});
