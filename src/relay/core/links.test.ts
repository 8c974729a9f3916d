import { describe, expect, it } from "vitest";
import { answering, createMemoryLane } from "../../../test/support/memory-lane.ts";
import { CLOSE } from "../../protocol/tunnel/close-codes.ts";

const hold = () => ({});

describe("a connector's socket", () => {
  it("is dropped when no HELLO comes in time", () => {
    const lane = createMemoryLane();
    const silent = lane.connect({ greets: false });
    expect([lane.broker.busy, lane.broker.sessions()]).toEqual([true, []]);
    lane.advance(10_000);
    expect([silent.closed?.code, lane.broker.busy, lane.presence]).toEqual([CLOSE.timeout, false, []]);
  });

  it("gives way to a newer one of the same instance, and is told why; other instances stay (H81)", () => {
    const lane = createMemoryLane();
    const grant = lane.grant();
    const [old, other] = ["same", "other"].map((instanceId) => lane.connect({ grant, instanceId }));
    lane.connect({ grant, instanceId: "same" });
    expect([old?.closed?.code, old?.replacedBy.length, other?.closed]).toEqual([CLOSE.replaced, 1, null]);
    expect(lane.broker.sessions().map(({ instanceId }) => instanceId)).toEqual(["other", "same"]);
  });

  it("with work that says nothing is asked, and dropped when it stays silent", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({ onOpen: hold });
    const visitor = lane.request({ timeouts: { firstByteMs: 600_000, idleMs: null, totalMs: null } });
    lane.advance(20_000); // it answers the ping
    lane.advance(20_000);
    expect([connector.closed, lane.broker.sessions()[0]?.inFlight]).toEqual([null, 1]);
    connector.stuck = true;
    lane.advance(20_000);
    lane.advance(20_000);
    expect([connector.closed?.code, visitor.failure?.code]).toEqual([CLOSE.timeout, "connector-lost"]);
  });

  it("that does not answer gets no new work while another one does, however busy that is", () => {
    const lane = createMemoryLane();
    const stuck = lane.connect({ instanceId: "stuck", onOpen: hold });
    lane.request();
    const busy = lane.connect({ instanceId: "busy", onOpen: hold });
    stuck.stuck = true;
    lane.advance(4_000);
    lane.advance(1_000);
    const before = busy.requests.length;
    for (let i = 0; i < 20; i++) lane.request();
    lane.settle();
    expect(busy.requests.length - before).toBe(20);
    // Nobody else is left: rather a slow answer than none.
    busy.stuck = true;
    lane.advance(4_000);
    lane.advance(1_000);
    expect(lane.request().failure).toBeNull();
    stuck.stuck = false;
    lane.settle();
    const again = stuck.requests.length;
    for (let i = 0; i < 5; i++) lane.request();
    lane.settle();
    expect(stuck.requests.length - again).toBeGreaterThanOrEqual(5);
  });

  it("that breaks the protocol is closed with its code, and logged (H79)", () => {
    for (const [message, code] of [
      [new Uint8Array([1, 2, 3]), CLOSE.protocol],
      ["text", CLOSE.protocol],
      // DATA of a stream that the lane never opened
      [new Uint8Array([0, 0, 1, 0x12, 0, 0, 0, 0, 99, 1]), CLOSE.protocol],
    ] as const) {
      const lane = createMemoryLane();
      const connector = lane.connect();
      connector.sendRaw(message);
      lane.settle();
      expect([connector.closed?.code, lane.broker.sessions()]).toEqual([code, []]);
    }
  });

  it("is asked before it is dropped, so a clock that jumps ends nothing", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({ onOpen: hold });
    lane.request({ timeouts: { firstByteMs: 9_000_000, idleMs: null, totalMs: null } });
    lane.advance(3_600_000);
    lane.advance(3_600_000);
    expect(connector.closed).toBeNull();
  });

  it("keeps its identity, targets and health over the host's sleep, and a request under way then ends (T12)", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({ targets: ["web", "sick"], onOpen: hold });
    connector.session.report({ load: 0, unhealthy: ["sick"] });
    const outcomes: string[] = [];
    connector.onOpen = () => ({ closed: (outcome) => void outcomes.push(outcome.kind) });
    lane.request();
    lane.restart();
    expect(outcomes).toEqual(["reset"]);
    expect(lane.broker.sessions()).toMatchObject([{ targets: ["web", "sick"], unhealthy: ["sick"], inFlight: 0 }]);
    connector.onOpen = answering("awake");
    const visitor = lane.request();
    lane.settle();
    expect([visitor.text, lane.presence.length]).toEqual(["awake", 1]);
  });

  it("that had not greeted when the host fell asleep has to dial again", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({ greets: false });
    lane.restart();
    expect([connector.closed?.code, lane.broker.sessions()]).toEqual([1012, []]);
  });

  it("holds what is sent back while the platform has much of it waiting", () => {
    const lane = createMemoryLane({
      limits: { carrierHighWaterBytes: 64 * 1024, accountedBytesMax: 96 * 1024 * 1024 },
    });
    const connector = lane.connect({ onOpen: hold });
    const visitor = lane.request({ method: "PUT", body: "stream" });
    lane.settle();
    connector.stuck = true;
    for (let i = 0; i < 6; i++) {
      visitor.call.write(new Uint8Array(32 * 1024));
      lane.settle();
    }
    expect(visitor.call.writable).toBeLessThanOrEqual(0);
    const idle = lane.broker.accountedBytes;
    connector.stuck = false;
    lane.settle();
    expect([visitor.writableCalls, lane.broker.accountedBytes < idle]).toEqual([1, true]);
  });
});

describe("what a connector proved", () => {
  it("ends its sockets when it is taken away", () => {
    const endings = [
      [{ keys: [] }, CLOSE.unauthorized],
      [{ disabled: true }, CLOSE.revoked],
      [{ expiresAtMs: 5 }, CLOSE.revoked],
    ] as const;
    for (const [change, code] of endings) {
      const lane = createMemoryLane();
      const connector = lane.connect({ onOpen: hold });
      const visitor = lane.request({ method: "POST" });
      lane.settle();
      lane.grant({ ...connector.grant, ...change, keys: "keys" in change ? [] : connector.grant.keys });
      expect([connector.closed?.code, visitor.failure?.code]).toEqual([code, "connector-lost"]);
    }
    const lane = createMemoryLane();
    const connector = lane.connect();
    lane.grants.delete(connector.grant.connectorId);
    lane.broker.grantRemoved(connector.grant.connectorId);
    expect(connector.closed).toEqual({ code: CLOSE.revoked, reason: "the connector was removed" });
  });

  it("may be one of several secrets: only the sockets of the removed one end; so with issuers", () => {
    const lane = createMemoryLane();
    const secret = (id: string, expiresAtMs: number | null = null) => ({ id, sha256: "0".repeat(64), expiresAtMs });
    const grant = lane.grant({ secrets: [secret("one"), secret("two", lane.nowMs + 60_000)], issuerSubject: "plant" });
    lane.settings({ issuers: [{ issuer: "https://id.example", audience: "relay", keys: [] }] });
    const by = (kind: "secret" | "issuer", id: string) =>
      lane.connect({ grant, credential: { kind, id, expiresAtMs: null } });
    const [one, two, outside] = [by("secret", "one"), by("secret", "two"), by("issuer", "https://id.example")];
    lane.grant({ ...grant, secrets: [secret("two", lane.nowMs + 60_000)] });
    expect([one.closed?.code, two.closed, outside.closed]).toEqual([CLOSE.unauthorized, null, null]);
    lane.settings({ issuers: [] });
    expect([two.closed, outside.closed?.code]).toEqual([null, CLOSE.unauthorized]);
    expect(lane.broker.nextDueMs).toBe(lane.nowMs + 60_000);
    lane.advance(60_000);
    expect(two.closed).toEqual({ code: CLOSE.unauthorized, reason: "the secret ran out" });
  });

  it("runs out unless a new token comes in band in time", async () => {
    const lane = createMemoryLane();
    const make = () => lane.connect({ credential: { kind: "key", id: "key_1", expiresAtMs: lane.nowMs + 60_000 } });
    const [renewing, forgetful, wrong] = [make(), make(), make()];
    lane.renew = async (_link, token) =>
      token === "good" ? { ok: true, expiresAtMs: lane.nowMs + 90_000 } : { ok: false, reason: "not good" };
    renewing.session.renewToken("good");
    wrong.session.renewToken("bad");
    lane.settle();
    await Promise.resolve(); // the answer of `renew`
    await Promise.resolve();
    lane.settle();
    expect([renewing.renewedForMs, wrong.closed]).toEqual([[90_000], { code: CLOSE.unauthorized, reason: "not good" }]);
    lane.advance(60_000);
    expect([renewing.closed, forgetful.closed?.reason]).toEqual([null, "the token ran out"]);
    lane.restart();
    lane.advance(30_000);
    expect(renewing.closed?.code).toBe(CLOSE.unauthorized);
  });
});

describe("a wall clock that jumps", () => {
  it("ends no request and no socket that is not due, and what is due at once", () => {
    const lane = createMemoryLane();
    const expiring = lane.grant({ expiresAtMs: lane.nowMs + 3_600_000 });
    const ending = lane.connect({ grant: expiring, targets: ["brief"] });
    const staying = lane.connect();
    const waiting = lane.request();
    lane.settle();
    lane.wallAheadMs = 30 * 60_000;
    lane.advance(1);
    expect([waiting.failure, staying.closed, ending.closed]).toEqual([null, null, null]);
    lane.wallAheadMs = 2 * 3_600_000;
    lane.advance(1);
    expect([waiting.failure, staying.closed, ending.closed?.code]).toEqual([null, null, CLOSE.revoked]);
  });
});

describe("settings", () => {
  it("reach live connectors at once, once, and what became of them is known (P13, P21)", () => {
    const lane = createMemoryLane();
    const connector = lane.connect();
    expect(connector.pushed).toEqual([]);
    lane.settings({ keepAliveMs: 5_000, reconnectMaxMs: 60_000 });
    lane.settings({ waitForConnectorMs: 1_000 }); // nothing of the connector's
    const config = { revision: 7, json: '{"targets":{}}' };
    lane.grant({ ...connector.grant, config, expiresAtMs: lane.nowMs + 10_000 });
    expect(connector.pushed).toEqual([
      { revision: 0, targetsJson: null, keepAliveMs: 5_000, reconnectMaxMs: 60_000, leaveInMs: null },
      { revision: 7, targetsJson: config.json, keepAliveMs: 5_000, reconnectMaxMs: 60_000, leaveInMs: 10_000 },
    ]);
    connector.session.acknowledgeConfig({ revision: 7, ok: false, reason: "no such directory" });
    lane.settle();
    const configured = { revision: 7, ok: false, reason: "no such directory" };
    expect(lane.broker.sessions()[0]?.configured).toEqual(configured);
    expect(lane.logs.some((line) => line.includes("no such directory"))).toBe(true);
    expect(
      lane.connect({ grant: lane.grants.get(connector.grant.connectorId) ?? connector.grant }).pushed,
    ).toHaveLength(1);
    lane.advance(10_000); // it should have left by itself (H89)
    expect(connector.closed).toEqual({ code: CLOSE.revoked, reason: "the connector's time is over" });
  });

  it("that switch the tenant off end all sockets (P23)", () => {
    const lane = createMemoryLane();
    const connectors = [lane.connect(), lane.connect()];
    lane.settings({ disabled: true });
    expect(connectors.map(({ closed }) => closed?.code)).toEqual([CLOSE.revoked, CLOSE.revoked]);
  });
});

describe("an operator", () => {
  it("kicks a connector, or one instance of it; what may be repeated goes to another (P23)", () => {
    const lane = createMemoryLane();
    const grant = lane.grant();
    const [one, two] = ["one", "two"].map((instanceId) => lane.connect({ grant, instanceId, onOpen: hold }));
    const visitor = lane.request();
    lane.settle();
    if (two !== undefined) two.onOpen = answering("two");
    if (one !== undefined) one.onOpen = answering("one");
    const busy = one?.requests.length === 1 ? "one" : "two";
    expect(lane.broker.kick(grant.connectorId, busy, "why")).toBe(1);
    lane.settle();
    expect(visitor.text).toBe(busy === "one" ? "two" : "one");
    expect(lane.broker.kick(grant.connectorId, null, "why")).toBe(1);
    expect([one?.closed, two?.closed]).toEqual([
      { code: CLOSE.goneAway, reason: "why" },
      { code: CLOSE.goneAway, reason: "why" },
    ]);
    expect(lane.broker.kick("con_other", null, "why")).toBe(0);
  });

  it("drains the lane: old sockets finish what they have while new ones are there already (T06, R15)", () => {
    const lane = createMemoryLane();
    const grant = lane.grant();
    let finish = (): void => undefined;
    const old = lane.connect({
      grant,
      instanceId: "same",
      onOpen: (stream, request) => {
        if (request.path === "/first") finish = () => void answering("finished")(stream, request);
        return {};
      },
    });
    const open = lane.request({ path: "/first" });
    lane.settle();
    lane.broker.drain(60_000);
    expect([lane.broker.accepts("web"), lane.broker.busy]).toEqual([false, true]);
    expect(lane.request().failure).toBeNull(); // still settling: somebody may have asked before
    lane.advance(1_000);
    expect(old.goAways).toMatchObject([{ graceMs: 60_500, reconnectMinMs: 0, reconnectMaxMs: 5_000 }]);
    expect(lane.request().failure).toMatchObject({ code: "not-available", tryElsewhere: true });
    lane.connect({ grant, instanceId: "same" });
    expect([old.closed, lane.broker.drain(60_000)]).toEqual([null, { sockets: 1, inFlight: 2 }]);
    finish();
    lane.settle();
    expect([open.text, lane.broker.drain(1).inFlight]).toEqual(["finished", 1]);
    lane.advance(60_000);
    expect(old.closed).toEqual({ code: CLOSE.goneAway, reason: "the time to drain is over" });
    expect([lane.broker.accepts("web"), lane.broker.busy]).toEqual([true, false]);
  });

  it("takes nothing for a while after a drain, so that it can be redeployed, unless it is told to serve", () => {
    const lane = createMemoryLane();
    lane.connect({ grant: lane.grant() });
    // Those that will be told to go count already.
    expect(lane.broker.drain(10_000, 30_000)).toEqual({ sockets: 1, inFlight: 0 });
    lane.advance(1_000);
    lane.advance(10_000);
    lane.connect({ grant: lane.grant() });
    expect([lane.broker.accepts("web"), lane.broker.drain(10_000, 30_000)]).toEqual([
      false,
      { sockets: 0, inFlight: 0 },
    ]);
    lane.advance(29_000);
    expect(lane.broker.accepts("web")).toBe(false);
    lane.advance(1_000);
    expect([lane.broker.accepts("web"), lane.broker.busy]).toEqual([true, false]);
    lane.broker.drain(10_000, 30_000);
    lane.broker.serve();
    expect([lane.broker.accepts("web"), lane.broker.busy]).toEqual([true, false]);
  });
});
