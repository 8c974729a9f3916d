import { createHash } from "node:crypto";
import { request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import WsSocket from "ws";
import { BLOB_BLOCK_BYTES, blobBlock, blobSha256 } from "../../local-stack/shared/streams.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { DEMO_COMMANDS, demoTenant, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";

// Long and large things through a node's Envoy to the demo service.
let host: ChannelHost;
let node: TestNode;
let proof: string;
const ACME = "ten_acme";
const MEBIBYTES = 256;

const STUBBORN = `
  process.on("SIGTERM", () => {});
  require("node:http").createServer((request, response) => {
    response.setHeader("causeway-error", "forged");
    response.write("on and on");
    if (!request.url.includes("stream")) response.end();
  }).listen(Number(process.env.PORT), "127.0.0.1");
`;

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  node = await startTestNode(host, key, {
    config: { commands: { ...DEMO_COMMANDS, stubborn: { argv: [process.execPath, "-e", STUBBORN] } } },
  });
  const channel = host.channel(node.nodeId);
  await channel.push({ kind: "put", tenant: demoTenant(ACME, 1) });
  expect(await channel.waitSettled(ACME, 1, 20_000)).toMatchObject({ state: "live" });
  proof = await node.proofFor(ACME, "acme.causeway.localhost");
});

afterAll(async () => {
  await node.stop();
  await host.close();
  await stopChildren();
});

const allocated = async (): Promise<number> => {
  const response = await fetch(`${node.adminUrl}/stats?filter=^server.memory_allocated$`);
  return Number(/: (\d+)/.exec(await response.text())?.[1] ?? 0);
};
/** Envoy's memory while something runs, at its highest above what it was before. */
async function growth(work: Promise<unknown>): Promise<number> {
  const before = await allocated();
  let highest = before;
  let over = false;
  const watching = (async () => {
    for (;;) {
      if (over) return;
      highest = Math.max(highest, await allocated());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  await work;
  over = true;
  await watching;
  return highest - before;
}

const download = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const asked = request(
      `${node.url}/app/blob?mb=${MEBIBYTES}`,
      { headers: { "causeway-proof": proof } },
      (response) => {
        const hash = createHash("sha256");
        response.on("data", (chunk: Buffer) => hash.update(chunk));
        response.on("end", () => resolve(hash.digest("hex")));
        response.on("error", reject);
      },
    );
    asked.on("error", reject);
    asked.end();
  });

const upload = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const headers = { "causeway-proof": proof, "transfer-encoding": "chunked" };
    const asked = request(`${node.url}/app/upload`, { method: "POST", headers }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      response.on("end", () => resolve(body));
    });
    asked.on("error", reject);
    let index = 0;
    const write = (): void => {
      while (index < (MEBIBYTES * 1024 * 1024) / BLOB_BLOCK_BYTES) {
        if (!asked.write(blobBlock(index++))) return void asked.once("drain", write);
      }
      asked.end();
    };
    write();
  });

test("a large body passes down and up with its hash, and Envoy's memory stays flat", async () => {
  const hash = blobSha256(MEBIBYTES);
  const down = download();
  expect(await growth(down)).toBeLessThan(16 * 1024 * 1024);
  expect(await down).toBe(hash);
  const up = upload();
  expect(await growth(up)).toBeLessThan(16 * 1024 * 1024);
  expect(JSON.parse(await up)).toEqual({ bytes: MEBIBYTES * 1024 * 1024, sha256: hash });
});

test("server-sent events come one by one, not in one lump at the end (E11)", async () => {
  const at: number[] = [];
  await new Promise((resolve, reject) => {
    const asked = request(
      `${node.url}/app/sse?count=4&ms=200`,
      { headers: { "causeway-proof": proof } },
      (response) => {
        response.on("data", () => at.push(Date.now()));
        response.on("end", resolve);
        response.on("error", reject);
      },
    );
    asked.on("error", reject);
    asked.end();
  });
  expect(at).toHaveLength(4);
  expect((at[3] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(400);
});

test(
  "a WebSocket survives changes of its tenant and of others, and ends when the tenant is removed (E13)",
  { timeout: 60_000 },
  async () => {
    const socket = new WsSocket(`${node.url.replace("http", "ws")}/app/ws`, { headers: { "causeway-proof": proof } });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    const channel = host.channel(node.nodeId);
    await channel.push({ kind: "put", tenant: demoTenant("ten_other", 1) });
    await channel.push({
      kind: "put",
      tenant: demoTenant(ACME, 2, { hosts: ["acme.causeway.localhost", "acme.example.com"] }),
    });
    expect(await channel.waitSettled("ten_other", 1, 20_000)).toMatchObject({ state: "live" });
    expect(await channel.waitSettled(ACME, 2, 20_000)).toMatchObject({ state: "live" });
    const echoed = new Promise((resolve) => socket.once("message", (data: Buffer) => resolve(data.toString())));
    socket.send("still here");
    expect(await echoed).toBe("still here");
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const stream = await stubbornStream();
    const removedAtMs = Date.now();
    await channel.push({ kind: "remove", tenantId: "ten_stubborn", revision: 2 });
    await channel.push({ kind: "remove", tenantId: ACME, revision: 3 });
    expect(await closed).toBe(1001);
    await until("it is gone", async () => (await channel.status(ACME)) === null);
    // One whose service neither ends it nor itself.
    await stream.ended;
    expect(Date.now() - removedAtMs).toBeLessThan(10_000);
  },
);

/** A request under way to a service that takes no notice of SIGTERM. */
async function stubbornStream(): Promise<{ readonly ended: Promise<void> }> {
  const tenant = demoTenant("ten_stubborn", 1);
  const services = tenant.services.map((service) => ({
    ...service,
    driver: { kind: "process" as const, command: "stubborn" },
  }));
  await host.channel(node.nodeId).push({ kind: "put", tenant: { ...tenant, services } });
  expect(await host.channel(node.nodeId).waitSettled("ten_stubborn", 1, 20_000)).toMatchObject({ state: "live" });
  const headers = { "causeway-proof": await node.proofFor("ten_stubborn", "stubborn.causeway.localhost") };
  const { promise: opened, resolve, reject } = Promise.withResolvers<{ readonly ended: Promise<void> }>();
  request(`${node.url}/app/stream`, { headers, agent: false }, (response) => {
    response.resume().on("error", () => undefined);
    // Only Envoy itself says that an error is the node's own: the edge believes it.
    expect(response.headers["causeway-error"]).toBeUndefined();
    resolve({ ended: new Promise((done) => response.once("close", () => done())) });
  })
    .on("error", reject)
    .end();
  return opened;
}
