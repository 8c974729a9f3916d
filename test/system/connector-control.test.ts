import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseTargets } from "../../src/connector/main.ts";
import type { PushedConfig } from "../../src/protocol/tunnel/types.ts";
import { until } from "../support/until.ts";
import { startTestRelay, type RelayLink, type TestRelay } from "./connector/relay.ts";
import { createSite, type Site } from "./connector/site.ts";

// What the control plane tells a running connector, and what the connector tells it: settings, expiry, health, audit.
const PING = [{ kind: "ping", name: "ping" }] as const;
let relay: TestRelay;
let site: Site;

beforeEach(async () => {
  relay = await startTestRelay();
  site = createSite();
});
afterEach(async () => {
  await site.close();
  await relay.stop();
});

const both = () => Promise.all([relay.link("a"), relay.link("b")]);
const settings = (revision: number, targets: object | null, more: Partial<PushedConfig> = {}): PushedConfig => ({
  revision,
  targetsJson: targets === null ? null : JSON.stringify(targets),
  keepAliveMs: null,
  reconnectMaxMs: null,
  leaveInMs: null,
  ...more,
});
const push = (links: readonly RelayLink[], config: PushedConfig) =>
  links.forEach(({ session }) => session.pushConfig(config));
const pushedFile = () => join(site.folder, "pushed.json");
const start = (change: object = {}) =>
  site.connector({ relay: relay.url, targets: [...PING], pushedFile: pushedFile(), ...change });

describe("pushed configuration", () => {
  test("is served beside the site's own, acknowledged on both lanes, and kept for a start without control plane", async () => {
    const connector = start();
    const links = await both();
    push(links, settings(3, { echo: "debug:echo", ping: "debug:echo" }));
    await until("both to acknowledge", () => links.every(({ acks }) => acks.length > 0));
    for (const { acks } of links) expect(acks).toEqual([{ revision: 3, ok: true, reason: "" }]);
    await until("both to know of it", () => links.every(({ targets }) => targets?.join() === "ping,echo"));
    expect(links.map(({ announcements }) => announcements)).toEqual([1, 1]);
    expect(await links[0]?.open({ target: "ping" }).text()).toBe("PONG\n"); // its own stays its own
    expect(await links[1]?.open({ target: "echo", method: "POST", body: [Buffer.from("here")] }).text()).toBe("here");
    expect(connector.pushedRevision).toBe(3);
    expect(statSync(pushedFile()).mode & 0o777).toBe(0o600);

    connector.stop();
    await connector.done;
    start();
    const again = await relay.link("a", { not: links[0] });
    expect(again.peer.targets).toEqual(["ping", "echo"]);
    expect(again.announcements).toBe(0); // HELLO said it; nothing is said twice
  });

  test("that is taken back, is older, or is wrong", async () => {
    const connector = start();
    const links = await both();
    const [a] = links;
    push([a], settings(5, { echo: "debug:echo" }));
    await until("it to be taken", () => a.acks.length === 1);
    push([a], settings(4, {}));
    push([a], settings(6, { echo: { url: "ftp://secret.example.com" } }));
    push([a], { ...settings(7, null), targetsJson: "{" });
    await until("them to be refused", () => a.acks.length === 4);
    expect(a.acks.slice(1).map(({ revision, ok }) => [revision, ok])).toEqual([
      [4, false],
      [6, false],
      [7, false],
    ]);
    expect(a.acks[2]?.reason).toContain("echo");
    expect(JSON.stringify([a.acks, site.log])).not.toContain("secret.example.com");
    expect(connector.pushedRevision).toBe(5);
    expect(a.targets).toEqual(["ping", "echo"]);
    push(links, settings(8, null));
    await until("its own to be all", () => links.every(({ targets }) => targets?.join() === "ping"));
  });

  test("is refused by a site that wants none", async () => {
    start({ pushedTargets: false });
    const [a] = await both();
    push([a], settings(1, { echo: "debug:echo" }));
    await until("the refusal", () => a.acks[0]?.ok === false);
    expect(existsSync(pushedFile())).toBe(false);
    push([a], settings(2, null, { keepAliveMs: 2_000 }));
    await until("timings to be taken all the same", () => a.acks[1]?.ok === true);
  });

  test("of timings is in force at once", async () => {
    start();
    const links = await both();
    push(links, settings(1, null, { keepAliveMs: 2_000 }));
    let pings = 0;
    links[0].socket.on("ping", () => (pings += 1));
    await until("pings at the new pace", () => pings >= 2, { timeoutMs: 10_000 });
  });
});

test("a connector whose time is over drains, leaves, and does not come back", async () => {
  const connector = start();
  const links = await both();
  push(links, settings(1, null, { leaveInMs: 300 }));
  expect(await connector.done).toMatchObject({ kind: "expired" });
  expect(links.map(({ draining }) => draining)).toEqual(Array(2).fill(expect.stringContaining("time")));
  expect(relay.dials.length).toBe(2);
});

test("a connector whose time is made longer stays", async () => {
  const connector = start();
  const links = await both();
  push(links, settings(1, null, { leaveInMs: 500 }));
  push(links, settings(2, null, { leaveInMs: 3_600_000 }));
  await until("both to take it", () => links.every(({ acks }) => acks.length === 2));
  let over = false;
  void connector.done.then(() => (over = true));
  const untilMs = Date.now() + 700;
  await until("its first time to be over", () => Date.now() > untilMs);
  expect([over, connector.ready]).toEqual([false, true]);
});

describe("the audit", () => {
  const lines = () =>
    site.log.flatMap((line) => {
      const entry: unknown = JSON.parse(line);
      return typeof entry === "object" && entry !== null && "msg" in entry && entry.msg === "request" ? [entry] : [];
    });

  test("has one line a request: target, method, path, status, bytes; nothing of the query, headers or bodies", async () => {
    const target = await site.target((request, response) => {
      request.resume().once("end", () => response.writeHead(201, { "x-hidden": "hidden-3" }).end("hidden-4!"));
    });
    const parsed = parseTargets([`web=${target}`]);
    if (!parsed.ok) throw new Error(parsed.error);
    start({ targets: [...PING, ...parsed.value] });
    const [a] = await both();
    const path = "/orders/7?token=hidden-1";
    await a.open({ target: "web", method: "POST", path, body: [Buffer.from("hidden-2")] }).text();
    await a.open({ target: "ping" }).text();
    await until("both lines", () => lines().length === 2);
    expect(lines()).toMatchObject([
      { target: "web", method: "POST", path: "/orders/7", status: 201, bytesIn: 8, bytesOut: 9 },
      { target: "ping", method: "GET", path: "/", status: 200 },
    ]);
    expect(site.log.join("\n")).not.toContain("hidden");
  });

  test("tells of a target that is not there, and is silent when it is switched off", async () => {
    start();
    const [a] = await both();
    await a
      .open({ target: "absent" })
      .text()
      .catch(() => undefined);
    await until("its line", () => lines().length === 1);
    expect(lines()[0]).toMatchObject({ target: "absent", status: 0 });
    const quiet = site.process(relay.url, ["--target", "ping", "--audit", "none", "--instance", "quiet"]);
    const link = await relay.link("a", { instanceId: "quiet" });
    await link.open({ target: "ping" }).text();
    quiet.child.kill("SIGTERM");
    expect(await quiet.exit).toBe(0);
    expect(quiet.output()).not.toContain('"msg":"request"');
  });
});

test("the metrics tell of links, targets and credit", async () => {
  const running = site.process(relay.url, ["--target", "ping", "--health-port", "0"]);
  await both();
  const port = await until("the port", () => /"healthPort":([0-9]+)/.exec(running.output())?.[1]);
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  for (const line of [
    'causeway_connector_link_ups_total{lane="a"} 1',
    'causeway_connector_link_streams_open{lane="b"} 0',
    'causeway_connector_target_healthy{target="ping"} 1',
    "causeway_connector_receive_budget_bytes ",
  ]) {
    expect(text).toContain(line);
  }
});
