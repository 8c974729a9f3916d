import { readFileSync, statSync } from "node:fs";
import { Agent, request } from "node:http";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { createSealer } from "../../src/node-agent/sealed.ts";
import { startChannelPeer, type ChannelPeer } from "../support/channel-peer.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey, type ProofKey } from "../support/envoy.ts";
import { externalTenant, startTestNode, type Answer, type TestNode } from "../support/node.ts";
import { until } from "../support/until.ts";

// The agent against a channel that repeats, reorders and forgets: what a real one never does, but a restored or split one could.
let peer: ChannelPeer;
let key: ProofKey;
let node: TestNode;
let outside: Server;
let port: number;

const A = "ten_a";
const A_HOST = "a.causeway.localhost";
const welcome = (epoch: string, keys = [key.public]) =>
  ({ type: "welcome", nodeId: node.nodeId, node: "walter-white", epoch, proofKeys: { keys } }) as const;
const hellos = () => peer.received.filter((message) => message.type === "hello");
const reports = (tenantId: string): string[] =>
  peer.received.flatMap((message) => {
    if (message.type === "report" && message.tenantId === tenantId) return [`${message.state} ${message.revision}`];
    return message.type === "removed" && message.tenantId === tenantId ? [`removed ${message.revision}`] : [];
  });
/** An external tenant whose path tells its revision. */
const tenant = (tenantId: string, revision: number) =>
  externalTenant(tenantId, revision, port, { routes: [{ prefix: `/r${revision}`, service: "app" }] });
const servedRevision = async (tenantId: string, hostName: string): Promise<number | null> => {
  for (let revision = 1; revision < 12; revision++) {
    if ((await node.ask(tenantId, hostName, `/r${revision}`)).status === 200) return revision;
  }
  return null;
};

beforeAll(async () => {
  outside = createServer((_request, response) => response.end("ok")).listen(0, "127.0.0.1");
  await new Promise((resolve) => outside.once("listening", resolve));
  const address = outside.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  ({ port } = address);
  peer = await startChannelPeer();
  key = await newProofKey("edge-1");
  node = await startTestNode(peer, key);
  await until("the hello", () => hellos().length === 1);
});

afterAll(async () => {
  await node.stop();
  await peer.close();
  outside.closeAllConnections();
  outside.close();
  await stopChildren();
});

test("a fresh agent says so, and keeps its key to itself", () => {
  expect(hellos()[0]).toMatchObject({ version: 1, epoch: null, cursor: 0 });
  const file = join(node.dir, "node.json");
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const { key: own } = JSON.parse(readFileSync(file, "utf8"));
  expect(node.log()).not.toContain(own.d);
});

test("a snapshot in parts is served, each tenant reported accepted and then live (E02)", async () => {
  peer.send(welcome("e1"));
  peer.send({ type: "snapshot", seq: 10, tenants: [tenant(A, 5)], last: false });
  peer.send({ type: "snapshot", seq: 10, tenants: [tenant("ten_b", 1)], last: true });
  await until("both are live", () => reports(A).includes("live 5") && reports("ten_b").includes("live 1"));
  expect(reports(A)).toEqual(["accepted 5", "live 5"]);
  expect(await servedRevision(A, A_HOST)).toBe(5);
});

test("an older revision never replaces a newer one, whatever order it comes in (H38, H39)", async () => {
  peer.send({ type: "change", seq: 11, change: { kind: "put", tenant: tenant(A, 4) } });
  peer.send({ type: "change", seq: 12, change: { kind: "remove", tenantId: A, revision: 3 } });
  peer.send({ type: "change", seq: 13, change: { kind: "put", tenant: tenant(A, 6) } });
  peer.send({ type: "change", seq: 14, change: { kind: "put", tenant: tenant(A, 5) } });
  peer.send({ type: "change", seq: 15, change: { kind: "put", tenant: tenant("ten_b", 2) } });
  await until("all were read", () => reports("ten_b").includes("live 2"));
  await until("the newest is live", () => reports(A).includes("live 6"));
  expect(await servedRevision(A, A_HOST)).toBe(6);
});

test("a removed tenant stays removed for older revisions and comes back for newer ones", async () => {
  peer.send({ type: "change", seq: 16, change: { kind: "remove", tenantId: "ten_b", revision: 4 } });
  await until("it is removed", () => reports("ten_b").includes("removed 4"));
  peer.send({ type: "change", seq: 17, change: { kind: "put", tenant: tenant("ten_b", 3) } });
  peer.send({ type: "change", seq: 18, change: { kind: "put", tenant: tenant("ten_c", 1) } });
  await until("all were read", () => reports("ten_c").includes("live 1"));
  expect(await servedRevision("ten_b", "b.causeway.localhost")).toBeNull();
  peer.send({ type: "change", seq: 19, change: { kind: "put", tenant: tenant("ten_b", 5) } });
  await until("it is back", () => reports("ten_b").includes("live 5"));
});

test("the cursor is that of the disk: a new connection goes on from there and tells again how all stand", async () => {
  await node.end("SIGKILL");
  peer.received.length = 0;
  await node.start();
  await until("the hello", () => hellos().length === 1);
  expect(hellos()[0]).toMatchObject({ epoch: "e1", cursor: 19 });
  peer.send(welcome("e1"));
  await until("the reports", () => reports("ten_b").length > 0);
  expect([reports(A), reports("ten_b"), reports("ten_c")]).toEqual([["live 6"], ["live 5"], ["live 1"]]);
});

test("a channel of a new epoch gives a snapshot: what it does not name goes, what is older in it does not come", async () => {
  peer.received.length = 0;
  peer.drop(1012, "restart");
  await until("the next hello", () => hellos().length === 1);
  peer.send(welcome("e2"));
  peer.send({ type: "snapshot", seq: 3, tenants: [tenant(A, 2), tenant("ten_b", 6)], last: true });
  await until("settled", () => reports("ten_b").includes("live 6") && reports("ten_c").includes("removed 1"));
  expect(await servedRevision(A, A_HOST)).toBe(6);
  expect(await servedRevision("ten_c", "c.causeway.localhost")).toBeNull();
});

test("a burst of revisions, removals and returns ends with the newest, and nothing speaks for another revision", async () => {
  peer.received.length = 0;
  let seq = 100;
  let revision = 100;
  const last = new Map<string, number | null>();
  for (let round = 0; round < 12; round++) {
    for (const tenantId of ["ten_x", "ten_y", "ten_z"]) {
      const removes = round % 4 === 3 && tenantId !== "ten_x";
      revision += 1;
      const spec = externalTenant(tenantId, revision, port, { routes: [{ prefix: `/at${revision}`, service: "app" }] });
      peer.send({
        type: "change",
        seq: ++seq,
        change: removes ? { kind: "remove", tenantId, revision } : { kind: "put", tenant: spec },
      });
      last.set(tenantId, removes ? null : revision);
    }
    // Now and then the agent gets time to be in the middle of something.
    if (round % 3 === 1) await new Promise((resolve) => setTimeout(resolve, 15));
  }
  for (const [tenantId, at] of last) {
    await until(`${tenantId} is settled`, () =>
      reports(tenantId)
        .at(-1)
        ?.startsWith(at === null ? "removed" : `live ${at}`),
    );
    const hostName = `${tenantId.slice(4)}.causeway.localhost`;
    const answer = await node.ask(tenantId, hostName, `/at${at ?? 0}`);
    expect([tenantId, answer.status]).toEqual([tenantId, at === null ? 404 : 200]);
  }
  const { storeKey } = z
    .object({ storeKey: z.string() })
    .parse(JSON.parse(readFileSync(join(node.dir, "node.json"), "utf8")));
  const sealer = createSealer(storeKey);
  const stored = (tenantId: string): unknown =>
    JSON.parse(sealer.open(readFileSync(join(node.dir, `state/store/tenants/${tenantId}.json`), "utf8")) ?? "null");
  expect(stored("ten_x")).toMatchObject({
    state: "live",
    revision: last.get("ten_x"),
    good: { revision: last.get("ten_x") },
  });
  expect(stored("ten_z")).toMatchObject({ state: "gone", want: null, good: null });
});

const keptAlive = (agent: Agent, proof: string): Promise<Answer & { port: number | undefined }> =>
  new Promise((resolve, reject) => {
    const asked = request(`${node.url}/r6`, { agent, headers: { "causeway-proof": proof } }, (response) => {
      let body = "";
      const { localPort } = response.socket;
      response.on("data", (part: Buffer) => (body += part.toString()));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body, port: localPort }),
      );
    });
    asked.on("error", reject);
    asked.end();
  });

test("proof keys change without closing a connection; the old key works as long as it is published (E09)", async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const proof = await node.proofFor(A, A_HOST);
  const first = await keptAlive(agent, proof);
  expect(first.status).toBe(200);
  const next = await newProofKey("edge-2");
  peer.send({ type: "proof-keys", proofKeys: { keys: [key.public, next.public] } });
  const filter = () => readFileSync(join(node.dir, "state/envoy/filters/proof-filter.json"), "utf8");
  await until("both keys are there", () => filter().includes("edge-2"));
  expect((await keptAlive(agent, proof)).status).toBe(200);
  peer.send({ type: "proof-keys", proofKeys: { keys: [next.public] } });
  await until("the old key is refused", async () => (await keptAlive(agent, proof)).status === 401);
  const last = await keptAlive(agent, proof);
  expect(last.port).toBe(first.port);
  peer.send({ type: "proof-keys", proofKeys: { keys: [key.public] } });
  await until("and taken again", async () => (await keptAlive(agent, proof)).status === 200);
  agent.destroy();
});

test("a channel that speaks nonsense, or for another node, is left and dialled again; the node serves on", async () => {
  const dials = peer.dialledAtMs.length;
  peer.send({ ...welcome("e2"), nodeId: "nod_other" });
  await until("it dialled again", () => peer.dialledAtMs.length > dials, { timeoutMs: 40_000 });
  expect(await servedRevision(A, A_HOST)).toBe(6);
});

test("refused by the relay, the agent says why, goes on serving and dials again for ever, not at once", async () => {
  peer.answerWith(401);
  peer.drop(1012, "restart");
  const before = peer.dialledAtMs.length;
  await until("two more dials", () => peer.dialledAtMs.length >= before + 2, { timeoutMs: 55_000 });
  expect(await servedRevision(A, A_HOST)).toBe(6);
  expect(node.log()).toContain("the relay refused this node");
  expect((await node.status()).channel).toBe("offline");
  peer.answerWith(101);
  peer.received.length = 0;
  await until("it is back", () => hellos().length > 0, { timeoutMs: 55_000 });
}, 120_000);
