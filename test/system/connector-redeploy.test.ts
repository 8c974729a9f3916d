import { createHash, randomBytes } from "node:crypto";
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { until } from "../support/until.ts";
import { startLanes, type Lanes } from "./connector/lanes.ts";
import { createSite, web, type Site } from "./connector/site.ts";

// Both sides of the relay are redeployed, one after the other, under load through the real edge: drained as the provisioner does it, then all
// of a side's memory and sockets end at once, as a deploy ends them.
const INSTANCES = ["i1", "i2"];
const CLIENTS = 8;
const LONG_LIVED = 3;
const GRACE_MS = 4_000;
const HOLD_MS = 60_000;
/** A lane serves on for this long after it was told to drain (src/relay/limits.ts, DRAIN_SETTLE_MS). */
const SETTLE_MS = 1_000;
let lanes: Lanes;
let site: Site;
let host: string;

beforeAll(async () => {
  lanes = await startLanes({ edge: true });
  site = createSite();
  await lanes.grant(site.publicKey);
  const demo = await site.demoTarget();
  for (const instanceId of INSTANCES)
    site.connector({ relay: lanes.relayUrl, targets: [web("demo", demo)], instanceId });
  host = `demo--acme.causeway.localhost:${lanes.port}`;
  await backOn("a");
  await backOn("b");
});
afterAll(async () => {
  await site.close();
  await lanes.stop();
});

const backOn = (lane: "a" | "b") =>
  until(`both instances on lane ${lane}`, async () => {
    const online = await lanes.online(lane);
    return INSTANCES.every((instance) => online.includes(instance));
  });

const emptied = (lane: "a" | "b") =>
  until(`nothing to be left on lane ${lane}`, async () => {
    const { sockets, inFlight } = await lanes.drain(lane, GRACE_MS, HOLD_MS);
    return sockets === 0 && inFlight === 0;
  });

const agent = new Agent({ keepAlive: true });

function open(path: string, body?: string): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const method = body === undefined ? "GET" : "POST";
  const headers = { host, "x-edge": "1" };
  httpRequest({ host: "127.0.0.1", port: lanes.port, path, method, headers, agent }, resolve)
    .on("error", reject)
    .end(body);
  return promise;
}

/** "ok", or what went wrong. */
async function ask(path: string, body?: string): Promise<string> {
  try {
    const response = await open(path, body);
    let text = "";
    for await (const chunk of response as AsyncIterable<Buffer>) text += chunk.toString();
    return response.statusCode === 200 ? "ok" : `${response.statusCode} ${text}`;
  } catch (error) {
    return String(error);
  }
}

/** A body that is sent by and by, so that it can't be kept for a second try. */
async function upload(chunks: number): Promise<string> {
  const hash = createHash("sha256");
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = { host, "x-edge": "1", "transfer-encoding": "chunked" };
  const sent = httpRequest(
    { host: "127.0.0.1", port: lanes.port, path: "/upload", method: "POST", headers, agent },
    resolve,
  ).on("error", reject);
  promise.catch(() => undefined); // told below, when all was sent
  for (let i = 0; i < chunks; i++) {
    const chunk = randomBytes(16 * 1024);
    hash.update(chunk);
    sent.write(chunk);
    await new Promise((next) => setTimeout(next, 10));
  }
  sent.end();
  try {
    let text = "";
    for await (const chunk of (await promise) as AsyncIterable<Buffer>) text += chunk.toString();
    return text.includes(hash.digest("hex")) ? "ok" : `upload: ${text}`;
  } catch (error) {
    return `upload: ${String(error)}`;
  }
}

interface LongLived {
  /** Times at which what was open before a drain ended. */
  readonly endedMs: number[];
  /** Of the WebSocket, where it was closed. */
  readonly codes: number[];
  close(): void;
}

async function longLived(): Promise<LongLived> {
  const endedMs: number[] = [];
  const codes: number[] = [];
  const over = (): void => void endedMs.push(Date.now());
  const events = await open("/sse?count=0"); // without an end
  let closing = false;
  let readings = 0;
  events.on("data", () => (readings += 1));
  events.on("error", () => undefined);
  events.once("close", () => !closing && over());
  const socket = new WebSocket(`ws://127.0.0.1:${lanes.port}/ws`, { headers: { host, "x-edge": "1" } });
  let echoes = 0;
  socket.on("message", () => (echoes += 1));
  socket.on("error", () => undefined);
  socket.once("close", (code) => {
    if (closing) return;
    codes.push(code);
    over();
  });
  await new Promise((resolve) => socket.once("open", resolve));
  socket.send("hello");
  await until("events and an echo", () => readings > 0 && echoes > 0);
  return {
    endedMs,
    codes,
    close() {
      closing = true;
      events.destroy();
      socket.terminate();
    },
  };
}

test("both sides are drained and redeployed under load: not one request fails, streams have their grace (T06, P23)", async () => {
  const closeCodes: number[] = [];
  const failed: string[] = [];
  let good = 0;
  const stop = new AbortController();
  let mayUpload: Promise<void> = Promise.resolve();
  let uploading = 0;
  const load = Array.from({ length: CLIENTS }, async (_, client) => {
    for (let i = 0; !stop.signal.aborted; i++) {
      const answer =
        (client + i) % 4 === 0 ? await ask("/upload", "small".repeat(20)) : await ask(`/slow?ms=${client}`);
      if (answer === "ok") good += 1;
      else failed.push(answer);
    }
  });
  load.push(
    (async () => {
      while (!stop.signal.aborted) {
        await mayUpload;
        uploading += 1;
        const answer = await upload(30);
        uploading -= 1;
        if (answer !== "ok") failed.push(answer);
      }
    })(),
  );
  for (const lane of ["a", "b"] as const) {
    const other = lane === "a" ? "b" : "a";
    await emptied(other);
    // They can only be on the side that is drained next.
    const long = await Promise.all(Array.from({ length: LONG_LIVED }, longLived));
    await lanes.serve(other);
    await backOn(other);
    const before = good;
    await until("load", () => good > before + 100);
    const begunMs = Date.now();
    await emptied(lane);
    // The runtime ends no object that a request has a reference to, as one has for its whole time that only asked what the lane accepts.
    const { promise, resolve } = Promise.withResolvers<void>();
    mayUpload = promise;
    await until("uploads to end", () => uploading === 0);
    await lanes.evict(lane, "close");
    resolve();
    // A deploy would say so by its version, which stays the same here.
    await lanes.serve(lane);
    await backOn(lane);
    const atReturn = good;
    await until("answers after it", () => good > atReturn + 100);
    const endedMs = long.flatMap((each) => each.endedMs);
    expect(endedMs.length).toBe(2 * LONG_LIVED);
    for (const atMs of endedMs) expect(atMs - begunMs).toBeGreaterThan(GRACE_MS + SETTLE_MS - 100);
    closeCodes.push(...long.flatMap(({ codes }) => codes));
    for (const each of long) each.close();
  }
  stop.abort();
  await Promise.all(load);
  expect(failed).toEqual([]);
  expect(closeCodes).toEqual(Array(2 * LONG_LIVED).fill(1012));
  expect(good).toBeGreaterThan(500);
});
