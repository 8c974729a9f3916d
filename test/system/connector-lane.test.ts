import { createHash, randomBytes } from "node:crypto";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { until } from "../support/until.ts";
import { startLanes, type Lanes } from "./connector/lanes.ts";
import { createSite, web, type Site } from "./connector/site.ts";

// The real connector over the real lanes on workerd, both ends as they are deployed.
const MIB = 1024 * 1024;
let lanes: Lanes;
let site: Site;
let demo: string;

beforeAll(async () => {
  lanes = await startLanes();
});
afterAll(() => lanes.stop());

beforeEach(async () => {
  site = createSite();
  await lanes.grant(site.publicKey);
  demo = await site.demoTarget();
});
afterEach(() => site.close());

const online = (instances: readonly string[]) =>
  until(`${instances.join(", ")} on both lanes`, async () => {
    const seen = await Promise.all((["a", "b"] as const).map((lane) => lanes.online(lane)));
    return seen.every((ids) => instances.every((id) => ids.includes(id)));
  });

interface Visit {
  readonly path: string;
  readonly target?: string;
  readonly lane?: "a" | "b";
  readonly method?: string;
  readonly body?: Readable;
}

async function visit({ path, target = "demo", lane = "a", method = "GET", body }: Visit): Promise<IncomingMessage> {
  const headers = { "x-target": target, "x-lane": lane };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = httpRequest({ host: "127.0.0.1", port: lanes.port, path, method, headers, agent: false }, resolve);
  request.on("error", reject);
  if (body === undefined) request.end();
  else body.pipe(request);
  return await promise;
}

async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function hashOf(response: AsyncIterable<Buffer>): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of response) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest("hex") };
}

describe("over real lanes", () => {
  test("big bodies come down and go up whole, on both lanes at once", async () => {
    site.connector({ relay: lanes.relayUrl, targets: [web("demo", demo)], instanceId: "i1" });
    await online(["i1"]);
    await Promise.all(
      (["a", "b"] as const).map(async (lane) => {
        const down = await visit({ path: "/blob?mb=48", lane });
        expect(await hashOf(down)).toEqual({ bytes: 48 * MIB, sha256: down.headers["x-content-sha256"] });
        const piece = randomBytes(100_003);
        const hash = createHash("sha256");
        const pieces = Readable.from(
          (function* () {
            for (let i = 0; i < 320; i++) {
              hash.update(piece);
              yield piece;
            }
          })(),
        );
        const up = await visit({ path: "/upload", method: "POST", lane, body: pieces });
        expect(JSON.parse((await bodyOf(up)).toString())).toEqual({
          bytes: 320 * piece.length,
          sha256: hash.digest("hex"),
        });
      }),
    );
  });

  test("pages, cookies, errors of the target and of ours, a WebSocket and events", async () => {
    site.connector({
      relay: lanes.relayUrl,
      targets: [web("demo", demo), web("gone", "http://127.0.0.1:9")],
      instanceId: "i2",
    });
    await online(["i2"]);
    const page = await visit({ path: "/" });
    expect([page.statusCode, page.headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    expect((await bodyOf(page)).toString()).toContain("Plant 1");
    const cookies = await visit({ path: "/cookies" });
    expect(cookies.headers["set-cookie"]).toHaveLength(2);
    const own = await visit({ path: "/status/503" });
    expect([own.statusCode, own.headers["causeway-error"]]).toEqual([503, undefined]);
    const gone = await visit({ path: "/", target: "gone" });
    expect([gone.statusCode, gone.headers["causeway-error"]]).toEqual([502, "target-refused"]);
    expect((await bodyOf(gone)).toString()).not.toContain("127.0.0.1");
    const unknown = await visit({ path: "/", target: "secret" });
    expect([unknown.statusCode, unknown.headers["causeway-error"]]).toEqual([404, "unknown-target"]);

    const socket = new WebSocket(`ws://127.0.0.1:${lanes.port}/ws`, { headers: { "x-target": "demo" } });
    const echoed: string[] = [];
    socket.on("message", (data, isBinary) =>
      echoed.push(`${isBinary} ${data instanceof Buffer ? data.toString() : ""}`),
    );
    await new Promise((resolve) => socket.once("open", resolve));
    socket.send("grüße");
    socket.send(Buffer.from("bytes"));
    await until("both echoes", () => echoed.length === 2);
    expect(echoed).toEqual(["false grüße", "true bytes"]);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.close(4000, "bye");
    expect(await closed).toBe(4000);

    const events = await visit({ path: "/sse?count=0&ms=20" });
    let text = "";
    events.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await until("three events", () => text.split("event: tick").length > 3);
    events.destroy();
  });

  test("a visitor who goes away after the head ends the work at the target", async () => {
    let gone = false;
    // The runtime tells of a visitor who left when it writes to them, so the target has to go on saying something.
    const url = await site.target((_request, response) => {
      const timer = setInterval(() => response.write("x"), 20);
      response.once("close", () => {
        clearInterval(timer);
        gone = true;
      });
    });
    site.connector({ relay: lanes.relayUrl, targets: [web("endless", url)], instanceId: "i3" });
    await online(["i3"]);
    const response = await visit({ path: "/", target: "endless" });
    await new Promise((resolve) => response.once("data", resolve));
    response.destroy();
    await until("the target to notice", () => gone);
  });

  test("two instances share the requests; draining one loses none", async () => {
    const one = site.connector({ relay: lanes.relayUrl, targets: [web("demo", demo)], instanceId: "one" });
    let served = 0;
    const counting = await site.target((_request, response) => {
      served += 1;
      response.end("two");
    });
    site.connector({ relay: lanes.relayUrl, targets: [web("demo", counting)], instanceId: "two" });
    await online(["one", "two"]);
    const ask = async () => {
      const response = await visit({ path: "/slow?ms=30" });
      await bodyOf(response);
      return response.statusCode;
    };
    let statuses = await Promise.all(Array.from({ length: 40 }, ask));
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(served).toBeGreaterThan(0);
    expect(served).toBeLessThan(40);
    const during = Array.from({ length: 20 }, ask);
    one.drain("test");
    statuses = await Promise.all([...during, ...Array.from({ length: 20 }, ask)]);
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await one.done).toEqual({ kind: "drained" });
    const before = served;
    expect(await ask()).toBe(200);
    expect(served).toBe(before + 1);
  });

  test("a wrong key is refused, a connector that is disabled is out within two seconds, and back by itself when it is enabled", async () => {
    const stranger = createSite();
    const refused = stranger.connector({ relay: lanes.relayUrl, targets: [{ kind: "ping", name: "ping" }] });
    expect(await refused.done).toMatchObject({ kind: "auth" });
    await stranger.close();
    const connector = site.connector({
      relay: lanes.relayUrl,
      targets: [{ kind: "ping", name: "ping" }],
      instanceId: "i4",
    });
    await online(["i4"]);
    const atMs = Date.now();
    await lanes.grant(site.publicKey, { disabled: true });
    await until("it to be out", () => !connector.ready);
    expect(Date.now() - atMs).toBeLessThan(2_000);
    const again = site.connector({ relay: lanes.relayUrl, targets: [{ kind: "ping", name: "ping" }] });
    expect(await again.done).toMatchObject({ kind: "auth" });
    await lanes.grant(site.publicKey);
    await online(["i4"]);
  });

  test("an object that loses its memory, with or without its sockets, serves again", async () => {
    site.connector({ relay: lanes.relayUrl, targets: [web("demo", demo)], instanceId: "i5" });
    await online(["i5"]);
    for (const webSockets of ["hibernate", "close"] as const) {
      await lanes.evict("a", webSockets);
      await online(["i5"]);
      const down = await visit({ path: "/blob?mb=8" });
      expect(await hashOf(down)).toEqual({ bytes: 8 * MIB, sha256: down.headers["x-content-sha256"] });
    }
  });

  test("a lane is drained and redeployed under load without a failed request", async () => {
    const connector = site.connector({ relay: lanes.relayUrl, targets: [web("demo", demo)], instanceId: "i6" });
    await online(["i6"]);
    /** As the edge does: a lane that has started nothing is not the last word. */
    const ask = async (first: "a" | "b", ms: number): Promise<unknown> => {
      for (const lane of [first, first === "a" ? "b" : "a"] as const) {
        const response = await visit({ path: `/slow?ms=${ms}`, lane });
        const body = (await bodyOf(response)).toString();
        if (response.headers["causeway-refused"] !== "1") return response.statusCode === 200 ? "ok" : body;
      }
      return "refused by both";
    };
    const answers: unknown[] = [];
    const stop = new AbortController();
    const load = (["a", "b", "a", "b"] as const).map(async (lane, i) => {
      while (!stop.signal.aborted) answers.push(await ask(lane, i * 20));
    });
    const long = ask("a", 2_500);
    await lanes.drain("a", 5_000);
    await until("nothing to be under way", async () => {
      const { sockets, inFlight } = await lanes.drain("a", 5_000);
      return sockets === 0 && inFlight === 0;
    });
    expect(await long).toBe("ok");
    await lanes.evict("a", "close");
    await lanes.serve("a");
    await online(["i6"]);
    expect((await visit({ path: "/", lane: "a" })).statusCode).toBe(200);
    await until("more answers after it", () => answers.length > 50);
    stop.abort();
    await Promise.all(load);
    expect(new Set(answers)).toEqual(new Set(["ok"]));
    expect(connector.links().map(({ state }) => state)).toEqual(["ready", "ready"]);
  });

  test("the doctor finds nothing wrong, and leaves no connector behind", async () => {
    const args = ["--credentials", site.credentials, "--url", lanes.relayUrl, "--target", `demo=${demo}`];
    const running = site.command(["doctor", ...args]);
    expect([await running.exit, running.output()]).toEqual([0, expect.stringContaining("lane b: acme/plant-1")]);
    expect(await lanes.online("a")).toEqual([]);
  });
});
