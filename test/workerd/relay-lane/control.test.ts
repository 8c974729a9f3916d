import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { createPresence } from "../../../src/relay/durable/presence.ts";
import { tenantSettings, type TenantSettings } from "../../../src/protocol/lane.ts";
import type { RelayEvent } from "../../../src/protocol/queue-messages.ts";
import { createLogger } from "../../../src/shared/log.ts";
import { answering, connect, dial, events, grantConnector, laneStub, until, visit } from "./peer.ts";

// No tenant of the directory's that another file uses.
const EU = "ten_acme_eu";
let revision = 0;

const settle = async (change: Partial<Omit<TenantSettings, "revision">>): Promise<void> => {
  revision += 1;
  await laneStub(EU).putSettings({ ...tenantSettings.parse({ tenantId: EU, revision }), ...change });
};

describe("a tenant's settings", () => {
  it("are fenced by revision, of this tenant, and outlast the object", async () => {
    const lane = laneStub(EU);
    const settings = tenantSettings.parse({ tenantId: EU, revision: 10, limits: { requestsPerSecond: 1 } });
    expect(await lane.putSettings(settings)).toEqual({ applied: true, revision: 10 });
    expect(await lane.putSettings({ ...settings, revision: 9 })).toEqual({ applied: false, revision: 10 });
    await runInDurableObject(lane, async (object) => {
      await expect(object.putSettings({ ...settings, tenantId: "ten_other" })).rejects.toThrow("another tenant");
    });
    const abort = runInDurableObject(lane, (_object, state) => state.abort("test"));
    await expect(abort).rejects.toThrow("test");
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await visit(EU, "/")).status);
    expect(statuses).toContain(429);
    revision = 10;
    await settle({});
  });

  it("limit requests with 429 and Retry-After, and bodies with 413, and the other lane is not tried (P16)", async () => {
    const peer = await connect(await grantConnector(EU, "acme@eu"), { onOpen: answering("ok") });
    await settle({ limits: { ...tenantSettings.parse({ tenantId: EU, revision }).limits, bodyBytes: 10 } });
    const tooLong = await visit(EU, "/", { method: "POST", body: "x".repeat(11) });
    const unknown = await visit(EU, "/", {
      method: "POST",
      body: new Blob(["x".repeat(11)]).stream().pipeThrough(new TransformStream()),
    });
    for (const response of [tooLong, unknown]) {
      expect([
        response.status,
        response.headers.get("causeway-error"),
        response.headers.get("causeway-refused"),
      ]).toEqual([413, "body-too-large", null]);
    }
    await settle({ limits: { ...tenantSettings.parse({ tenantId: EU, revision }).limits, requestsPerSecond: 1 } });
    await visit(EU, "/");
    const limited = await visit(EU, "/");
    expect([limited.status, limited.headers.get("retry-after"), limited.headers.get("causeway-refused")]).toEqual([
      429,
      "1",
      null,
    ]);
    await settle({});
    peer.socket.close(1000, "done");
  });

  it("switch the tenant off: sockets end, nobody dials in, requests are refused (P23)", async () => {
    const connector = await grantConnector(EU, "acme@eu");
    const peer = await connect(connector);
    await settle({ disabled: true });
    expect((await peer.closed).code).toBe(4403);
    const refused = await visit(EU, "/");
    expect([refused.status, refused.headers.get("causeway-error")]).toEqual([503, "not-available"]);
    expect((await dial(await connector.key.sign({ identity: connector.identity }))).status).toBe(503);
    await settle({});
    expect((await dial(await connector.key.sign({ identity: connector.identity }))).status).toBe(101);
  });
});

describe("a connector", () => {
  it("is kicked by an operator and may dial again", async () => {
    const connector = await grantConnector(EU, "acme@eu");
    const peer = await connect(connector, { instanceId: "kicked" });
    expect(await laneStub(EU).kick(connector.grant.connectorId, "another")).toBe(0);
    expect(await laneStub(EU).kick(connector.grant.connectorId, "kicked")).toBe(1);
    expect((await peer.closed).code).toBe(4410);
    (await connect(connector, { instanceId: "kicked" })).socket.close(1000, "done");
  });

  it("whose time is over is ended by an alarm, though nothing else happens (H89)", async () => {
    const connector = await grantConnector(EU, "acme@eu", { expiresAtMs: Date.now() + 60_000 });
    const peer = await connect(connector);
    const lane = laneStub(EU);
    await runInDurableObject(lane, async (_object, state) => {
      expect(await state.storage.getAlarm()).toBe(connector.grant.expiresAtMs);
    });
    const over = Date.now() + 300;
    await lane.putConnector({ ...connector.grant, revision: 2, expiresAtMs: over });
    expect((await peer.closed).code).toBe(4403);
    expect(Date.now()).toBeGreaterThanOrEqual(over);
    expect((await dial(await connector.key.sign({ identity: connector.identity }))).status).toBe(403);
    await runDurableObjectAlarm(lane);
  });
});

describe("an answer", () => {
  it("says what way it went when the visitor asked for it (P03)", async () => {
    const peer = await connect(await grantConnector(EU, "acme@eu"), { instanceId: "traced", onOpen: answering("ok") });
    const response = await visit(EU, "/", { visit: { trace: true } });
    expect(response.headers.get("server-timing")).toMatch(/^wait;dur=\d+, target;dur=\d+$/);
    expect(response.headers.get("causeway-trace")).toMatch(
      /^lane=a; relay="causeway-relay"; connector="plant-\d+"; instance="traced"; software="test peer"; attempts=1$/,
    );
    expect((await visit(EU, "/")).headers.get("causeway-trace")).toBeNull();
    await settle({ tracing: false });
    expect((await visit(EU, "/", { visit: { trace: true } })).headers.get("causeway-trace")).toBeNull();
    await settle({});
    peer.socket.close(1000, "done");
  });

  it("crosses a host that tenants share without cookies and in a sandbox (D16)", async () => {
    const peer = await connect(await grantConnector(EU, "acme@eu"));
    peer.onOpen = (stream) => {
      stream.respond(
        {
          status: 200,
          headers: [
            ["set-cookie", "a=1"],
            ["content-security-policy", "default-src *"],
            ["x-content-type-options", "sniff"],
          ],
        },
        true,
      );
      return {};
    };
    const response = await visit(EU, "/", { visit: { withoutCookies: true }, headers: { cookie: "b=2" } });
    expect(response.headers.getSetCookie()).toEqual([]);
    expect(response.headers.get("content-security-policy")).toBe("default-src *, sandbox");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("causeway-request-id")).toBe("req_test");
    expect(peer.requests[0]?.headers.some(([name]) => name === "cookie")).toBe(false);
    peer.socket.close(1000, "done");
  });
});

describe("presence", () => {
  const session = { sessionId: "ses_1", connectorId: "con_1", instanceId: "i-1" };

  it("waits in storage while the queue is away, and is sent in order when it is back (R12)", async () => {
    await runInDurableObject(laneStub("ten_presence"), async (_object, state) => {
      const sent: RelayEvent[] = [];
      let away = true;
      let nowMs = 1_000;
      const make = (here: string[]) =>
        createPresence(
          {
            sql: state.storage.sql,
            queue: {
              send: async (event) => {
                if (away) throw new Error("the queue is away");
                sent.push(event);
              },
            },
            now: () => nowMs,
            log: createLogger("test", () => undefined),
            tenantId: "ten_presence",
            lane: "a",
          },
          new Set(here),
        );
      const first = make([]);
      first.online(session);
      await first.send();
      expect(first.dueMs).toBe(6_000);
      await first.send();
      expect(first.dueMs).toBe(11_000);

      // The object dies, and the socket with it.
      nowMs = 2_000;
      const second = make([]);
      expect(second.dueMs).toBe(2_000);
      away = false;
      await second.send();
      expect(second.dueMs).toBeNull();
      expect(sent.map(({ kind, atMs }) => [kind, atMs])).toEqual([
        ["connector-online", 1_000],
        ["connector-offline", 2_000],
      ]);
      expect(sent[1]).toMatchObject({ sessionId: "ses_1", reason: "the lane was restarted" });

      // It falls asleep, and the socket stays.
      second.online(session);
      await second.send();
      await make(["ses_1"]).send();
      expect(sent).toHaveLength(3);
    });
  });

  it("of sockets that died with the object is corrected when it wakes (R03, T12)", async () => {
    const connector = await grantConnector(EU, "acme@eu");
    const peer = await connect(connector);
    const about = async () =>
      (await events()).filter((event) => event["connectorId"] === connector.grant.connectorId).map(({ kind }) => kind);
    await until("it is known to be online", async () => (await about()).length === 1);
    const abort = runInDurableObject(laneStub(EU), (_object, state) => state.abort("test"));
    await expect(abort).rejects.toThrow("test");
    await peer.closed;
    await laneStub(EU).sessions();
    await until("it is known to be offline", async () => (await about()).length === 2);
    expect(await about()).toEqual(["connector-online", "connector-offline"]);
  });
});
