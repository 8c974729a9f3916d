import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { connect as connectH2, type ClientHttp2Session } from "node:http2";
import { request } from "node:https";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { blobSha256 } from "../../local-stack/shared/streams.ts";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { selfSigned } from "../support/certificate.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { startLoad } from "../support/load.ts";
import { frontOf, openTenant, startMasterWorld, type MasterWorld, type WorldNode } from "../support/master.ts";
import { device, hex, withBroker } from "../support/mqtt.ts";
import type { TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";

// What lies between a master and its nodes: who may come, what passes, and what happens when one of them is away.
let host: ChannelHost;
let world: MasterWorld;
const ACME = "acme.causeway.localhost";
const GLOBEX = "globex.causeway.localhost";
const withApp = (tenantId: string, revision: number): NodeTenant =>
  withBroker(openTenant(tenantId, revision, ["/app"]));
const OPEN_APP = { routes: [{ prefix: "/app", to: "node" as const }], mqtt: true };

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  world = await startMasterWorld(host, key);
  const [first, second] = world.nodes;
  await world.put(first, withApp("ten_acme", 1), OPEN_APP);
  await world.put(second, withApp("ten_globex", 1), OPEN_APP);
});
afterAll(async () => {
  await world.stop();
  await host.close();
  await stopChildren();
});

const nodeOf = async (name: string): Promise<string> => {
  const { body } = await world.visit(name, "/app");
  const said: { node?: string; edge?: true } = JSON.parse(body);
  return said.edge ? "edge" : (said.node ?? body);
};

interface Caller {
  readonly cert?: string;
  readonly key?: string;
}

describe("who comes to a node", () => {
  /** A request over the link as a master makes it, by HTTP/2. */
  async function overLink(caller: Caller, fields: Record<string, string>): Promise<{ status: number; body: string }> {
    const [{ port }] = world.nodes;
    const session: ClientHttp2Session = connectH2(`https://127.0.0.1:${port}`, {
      ...caller,
      rejectUnauthorized: false,
    });
    try {
      return await new Promise((resolve, reject) => {
        session.on("error", reject);
        session.on("close", () => reject(new Error("closed")));
        const stream = session.request({ ":path": "/app", ...fields });
        let status = 0;
        let body = "";
        stream.on("response", (headers) => (status = Number(headers[":status"])));
        stream.on("data", (part: Buffer) => (body += part.toString()));
        stream.on("end", () => resolve({ status, body }));
        stream.on("error", reject);
      });
    } finally {
      session.destroy();
    }
  }
  const said = { ":authority": ACME, "x-edge-scope": ACME, "x-edge-tenant": "ten_acme" };

  test("a master by its certificate; nobody else, whoever signed for them", async () => {
    expect(await overLink(world.link.master, said)).toMatchObject({ status: 200 });
    await expect(overLink(world.link.rogue, said)).rejects.toThrow();
    await expect(overLink({}, said)).rejects.toThrow();
  });

  test("routes that are not open are nobody's there, whatever a master says", async () => {
    const answer = await overLink(world.link.master, { ...said, ":path": "/manager", "x-edge-via": "edge" });
    expect(answer).toMatchObject({ status: 503, body: expect.stringContaining('"not-available"') });
  });

  test.each([
    ["of another tenant than the host's", { ...said, "x-edge-tenant": "ten_globex" }],
    ["of no tenant", { ":authority": ACME, "x-edge-scope": ACME }],
    ["for a host that is not here", { ...said, "x-edge-scope": GLOBEX }],
    ["without a host", { ":authority": ACME, "x-edge-tenant": "ten_acme" }],
  ])("a request %s is refused", async (_what, fields) => {
    expect(await overLink(world.link.master, fields)).toMatchObject({
      status: 502,
      body: expect.stringContaining('"node-unreachable"'),
    });
  });

  test("a tunnel without a tenant, or to one without a broker, is refused", async () => {
    const fields = { ":method": "CONNECT", ":authority": "mqtt:1883", "x-edge-scope": ACME };
    const [{ port }] = world.nodes;
    const session = connectH2(`https://127.0.0.1:${port}`, { ...world.link.master, rejectUnauthorized: false });
    session.on("error", () => undefined);
    const stream = session.request(fields);
    stream.on("error", () => undefined);
    const status = await new Promise((resolve) => stream.on("response", (headers) => resolve(headers[":status"])));
    expect(status).toBeGreaterThanOrEqual(400);
    session.destroy();
  });
});

describe("what passes", () => {
  test("WebSockets, by node and by edge (E11)", async () => {
    const talk = async (path: string): Promise<string> => {
      const options = { host: "127.0.0.1", servername: ACME, headers: { host: ACME }, rejectUnauthorized: false };
      const socket = new WebSocket(`wss://127.0.0.1:${world.httpsPort}${path}`, options);
      return await new Promise((resolve, reject) => {
        socket.on("error", reject);
        socket.on("open", () => socket.send("hello"));
        socket.on("message", (data: Buffer) => {
          resolve(data.toString());
          socket.close();
        });
      });
    };
    expect(await talk("/app/ws")).toBe("hello");
    expect(await talk("/manager/ws")).toBe("edge: hello");
  });

  test("HTTP/2 from the visitor, many requests on one connection (E11)", async () => {
    const session = connectH2(`https://127.0.0.1:${world.httpsPort}`, { servername: ACME, rejectUnauthorized: false });
    session.on("error", () => undefined);
    const bodies = await Promise.all(
      Array.from(
        { length: 20 },
        (_, index) =>
          new Promise<string>((resolve, reject) => {
            const stream = session.request({ ":path": `/app/${index}`, ":authority": ACME });
            let body = "";
            stream.on("data", (part: Buffer) => (body += part.toString()));
            stream.on("end", () => resolve(body));
            stream.on("error", reject);
          }),
      ),
    );
    expect(bodies.map((body) => JSON.parse(body))).toEqual(
      bodies.map((_, index) => expect.objectContaining({ path: `/app/${index}`, host: ACME, node: "walter-white" })),
    );
    session.close();
  });

  test("events one by one, and large bodies with their hash (E11)", async () => {
    const read = (path: string, onData: (part: Buffer) => void): Promise<void> =>
      new Promise((resolve, reject) => {
        const options = { servername: ACME, headers: { host: ACME }, rejectUnauthorized: false, agent: false };
        request(`https://127.0.0.1:${world.httpsPort}${path}`, options, (response) => {
          response.on("data", onData);
          response.on("end", resolve);
          response.on("error", reject);
        })
          .on("error", reject)
          .end();
      });
    const at: number[] = [];
    await read("/app/sse?count=3&ms=200", () => at.push(Date.now()));
    expect((at.at(-1) ?? 0) - (at[0] ?? 0)).toBeGreaterThan(200);
    const hash = createHash("sha256");
    await read("/app/blob?mb=32", (part) => hash.update(part));
    expect(hash.digest("hex")).toBe(blobSha256(32));
  });

  test("devices reach the broker of the tenant that they name; an unknown name is closed (E10)", async () => {
    const [acme, same, globex] = await Promise.all(
      [ACME, "ACME.causeway.localhost", GLOBEX].map((name) => device(world.mqttPort, name)),
    );
    acme?.publish("line/1", "from acme");
    globex?.publish("line/1", "from globex");
    await until(
      "both have theirs",
      () => same?.heard().includes(hex("from acme")) && globex?.heard().includes(hex("from globex")),
    );
    expect(globex?.heard()).not.toContain(hex("from acme"));
    // Another tenant's change touches no connection.
    await world.put(world.nodes[1], withApp("ten_globex", 2), OPEN_APP);
    acme?.ping();
    await until("the connection still answers", () => acme?.heard().endsWith("d000"));
    for (const each of [acme, same, globex]) each?.socket.destroy();

    const closed = await new Promise<string>((resolve) => {
      const socket = connect({
        port: world.mqttPort,
        host: "127.0.0.1",
        servername: "nobody.causeway.localhost",
        rejectUnauthorized: false,
      });
      socket.on("error", () => resolve("closed"));
      socket.on("close", () => resolve("closed"));
      socket.resume();
    });
    expect(closed).toBe("closed");
  });
});

describe("changes", () => {
  const clusters = async (): Promise<string[]> => {
    const text = await (await fetch(`${world.master.adminUrl}/clusters?format=json`)).text();
    const { cluster_statuses: all = [] }: { cluster_statuses?: { name: string }[] } = JSON.parse(text);
    return all.map(({ name }) => name).filter((name) => name.startsWith("node/"));
  };
  const pushFront = async (at: WorldNode, tenant: NodeTenant, front = OPEN_APP): Promise<void> => {
    const channel = host.channel(world.master.nodeId);
    await channel.push({ kind: "put", tenant: frontOf(at, tenant, front) });
    expect(await channel.waitSettled(tenant.tenantId, tenant.revision, 30_000)).toMatchObject({ state: "live" });
  };

  test("tenants of a node share its cluster, which goes with the last of them (E14)", async () => {
    const [first, second] = world.nodes;
    const others = ["ten_one", "ten_two", "ten_three"];
    for (const tenantId of others) await pushFront(first, openTenant(tenantId, 1, ["/app"]));
    expect((await clusters()).length).toBe(2);
    for (const tenantId of [...others, "ten_acme"]) await pushFront(second, openTenant(tenantId, 2, ["/app"]));
    await until("the first node's cluster is gone", async () => (await clusters()).length === 1);
    await pushFront(first, openTenant("ten_acme", 3, ["/app"]));
    expect((await clusters()).length).toBe(2);
    expect(await nodeOf(ACME)).toBe("walter-white");
  });

  test("a tenant moves from node to node without a failed request", async () => {
    const [first, second] = world.nodes;
    await world.put(first, openTenant("ten_moving", 1, ["/app"]), OPEN_APP);
    let over = false;
    const seen = new Map<string, number>();
    const asking = (async () => {
      for (;;) {
        if (over) return;
        const node = await nodeOf("moving.causeway.localhost");
        seen.set(node, (seen.get(node) ?? 0) + 1);
      }
    })();
    await world.put(second, openTenant("ten_moving", 2, ["/app"]), OPEN_APP);
    await until("requests come to the new node", () => (seen.get("hank-schrader") ?? 0) > 5);
    over = true;
    await asking;
    expect([...seen.keys()].toSorted()).toEqual(["hank-schrader", "walter-white"]);
  });

  test("certificates and authority between master and nodes are replaced on disk, and no request fails", async () => {
    const [first, second] = world.nodes;
    const masters = selfSigned({ dns: ["master-1.internal"] });
    const nodes = selfSigned({ dns: ["node.internal"], ip: ["127.0.0.1"] });
    const sides = [world.master, first.node, second.node];
    const taken = (): number[] =>
      sides.map(({ log }) => log().split("envoy has a new certificate for the link").length);
    /** As an operator does it, file by file; waits until every agent has given it to its Envoy. */
    const replace = async (files: (side: TestNode) => Readonly<Record<string, string>>): Promise<void> => {
      const before = taken();
      for (const side of sides)
        for (const [file, content] of Object.entries(files(side))) writeFileSync(join(side.dir, file), content);
      await until("all have taken it", () => taken().every((count, index) => count > (before[index] ?? 0)));
    };
    const shown = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const options = { port: first.port, host: "127.0.0.1", ...masters, rejectUnauthorized: false };
        const socket = connect(options, () => {
          resolve(socket.getPeerX509Certificate()?.toString() ?? "");
          socket.destroy();
        });
        socket.on("error", reject);
      });

    const load = startLoad(
      () => world.visit(ACME, "/app"),
      (body) => body.includes("walter-white"),
      2,
    );
    const fresh = masters.cert + nodes.cert;
    await replace(() => ({ "link-ca.crt": world.link.authority + fresh }));
    await replace((side) => {
      const pair = side === world.master ? masters : nodes;
      return { "link.crt": pair.cert, "link.key": pair.key };
    });
    await until("the node shows the new one", async () => (await shown()).trim() === nodes.cert.trim());
    await replace(() => ({ "link-ca.crt": fresh }));
    const asked = load.requests();
    await until("requests go on", () => load.requests() > asked + 20);
    expect(await load.stop()).toMatchObject({ failures: [] });
    // Another node's cluster has seen no request meanwhile: its connections are new.
    expect(await nodeOf(GLOBEX)).toBe("hank-schrader");
    const letsIn = (caller: Caller): Promise<boolean> =>
      new Promise((resolve) => {
        const session = connectH2(`https://127.0.0.1:${first.port}`, { ...caller, rejectUnauthorized: false });
        session.on("error", () => resolve(false));
        session.on("close", () => resolve(false));
        // Who is refused learns it by the first request only.
        const stream = session.request({ ":path": "/app", ":authority": ACME });
        stream.on("error", () => resolve(false));
        stream.on("response", () => {
          resolve(true);
          session.destroy();
        });
      });
    await until("who is no longer signed for is refused", async () => !(await letsIn(world.link.master)));
    expect(await letsIn(masters)).toBe(true);
  });

  test("a route that is closed, and a tenant that is taken away, are the edge's from then on", async () => {
    const [first] = world.nodes;
    const channel = host.channel(world.master.nodeId);
    expect(await nodeOf(ACME)).toBe("walter-white");
    await pushFront(first, openTenant("ten_acme", 4, []), { routes: [], mqtt: false });
    expect(await nodeOf(ACME)).toBe("edge");
    await pushFront(first, openTenant("ten_acme", 5, ["/app"]));
    expect(await nodeOf(ACME)).toBe("walter-white");
    const takenAtMs = Date.now();
    await channel.push({ kind: "remove", tenantId: "ten_acme", revision: 6 });
    await until("the edge answers", async () => (await nodeOf(ACME)) === "edge");
    expect(Date.now() - takenAtMs).toBeLessThan(10_000);
    await pushFront(first, openTenant("ten_acme", 7, ["/app"]));
  });

  test("a master that can't take a tenant's newest revision keeps nothing of it", async () => {
    const [first] = world.nodes;
    const channel = host.channel(world.master.nodeId);
    // Another tenant has the host, so this revision is refused; what it closes must not stay open.
    const greedy = openTenant("ten_moving", 8, ["/app"], { hosts: ["moving.causeway.localhost", GLOBEX] });
    await channel.push({ kind: "put", tenant: frontOf(first, greedy, OPEN_APP) });
    expect(await channel.waitSettled("ten_moving", 8, 20_000)).toMatchObject({ state: "rejected" });
    await until("the edge answers", async () => (await nodeOf("moving.causeway.localhost")) === "edge");
    expect(await nodeOf(GLOBEX)).toBe("hank-schrader");
  });
});

describe("when something is away", () => {
  test("the control plane: a master that starts anew serves from its disk", { timeout: 90_000 }, async () => {
    await host.gate.shut();
    const { envoy } = await world.master.status();
    await world.master.end("SIGKILL");
    process.kill(envoy.pid ?? 0, "SIGKILL");
    await world.master.start();
    await until("it serves again", async () => (await nodeOf(ACME)) === "walter-white");
    expect(await nodeOf(GLOBEX)).toBe("hank-schrader");
    expect(JSON.parse((await world.visit(ACME, "/manager")).body)).toMatchObject({ edge: true });
    await host.gate.open();
    await until("the channel is back", async () => (await world.master.status()).channel === "online", {
      timeoutMs: 60_000,
    });
  });

  test("a node: its visitors are told so, as a page or as problem details; nobody else notices", async () => {
    const [, second] = world.nodes;
    const { envoy } = await second.node.status();
    await second.node.end("SIGKILL");
    process.kill(envoy.pid ?? 0, "SIGKILL");
    const answer = await until("it can't be reached", async () => {
      const said = await world.visit(GLOBEX, "/app");
      return said.status === 502 && said;
    });
    expect(answer.headers).toMatchObject({
      "causeway-error": "node-unreachable",
      "content-type": "application/problem+json",
      "causeway-request-id": expect.stringMatching(/^req_/),
    });
    expect(JSON.parse(answer.body)).toMatchObject({
      code: "node-unreachable",
      requestId: answer.headers["causeway-request-id"],
    });
    const page = await world.visit(GLOBEX, "/app", { headers: { accept: "text/html,*/*;q=0.8" } });
    expect(page.headers["content-type"]).toMatch(/^text\/html/);
    expect(page.body).toContain(String(page.headers["causeway-request-id"]));
    expect(page.body).toContain("max-width:27rem");
    expect(await nodeOf(ACME)).toBe("walter-white");
    await second.node.start();
    await until("it is back", async () => (await nodeOf(GLOBEX)) === "hank-schrader");
  });

  test("the edge: open routes go on", async () => {
    await world.edge.close();
    expect(await nodeOf(ACME)).toBe("walter-white");
    const answer = await world.visit(ACME, "/manager");
    expect(answer).toMatchObject({ status: 503, headers: { "causeway-error": "not-available" } });
  });
});
