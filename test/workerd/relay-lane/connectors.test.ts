import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  answering,
  bytesOf,
  connect,
  dial,
  events,
  grantConnector,
  laneStub,
  makeKey,
  until,
  visit,
  type Claims,
} from "./peer.ts";

const ACME = "ten_acme";
/** A lane that is not evicted before every answer was read: an unread one keeps it busy. */
const SLEEPY = "ten_globex";

describe("dialling", () => {
  it("is refused before the upgrade, with a code that tells a wrong credential from a network that is down", async () => {
    const { key, identity } = await grantConnector(ACME, "acme");
    const other = await makeKey("other");
    const now = Math.floor(Date.now() / 1_000);
    const wrong: Record<string, Promise<string> | string | null> = {
      "no token": null,
      "not a JWT": "abc",
      "a key that the lane does not know": other.sign({ identity }),
      "a wrong signature": other.sign({ identity, kid: key.jwk.kid }),
      "another audience": key.sign({ identity, audience: "http://elsewhere.example" }),
      expired: key.sign({ identity, issuedAt: now - 200 }),
      "from the future": key.sign({ identity, issuedAt: now + 120 }),
      "living too long": key.sign({ identity, lifetimeSeconds: 600 }),
      "another connector": key.sign({ identity: "acme/somebody" }),
      "another tenant": key.sign({ identity: identity.replace("acme/", "globex/") }),
      "an unknown tenant": key.sign({ identity: "nosuch/plant-1" }),
      "a tenant of another cluster": key.sign({ identity: identity.replace("acme/", "acme@eu/") }),
    };
    for (const [what, token] of Object.entries(wrong)) {
      const response = await dial(await token);
      expect([what, response.status, response.headers.get("causeway-error")]).toEqual([what, 401, "unauthorized"]);
      expect(await response.json()).toMatchObject({ code: "unauthorized", status: 401 });
    }
    expect((await dial(await key.sign({ identity: "broken/plant" }))).headers.get("causeway-error")).toBe(
      "not-available",
    );
    expect((await dial(await key.sign({ identity }), "/connect/b")).status).toBe(404);
    const accepted = await dial(await key.sign({ identity }));
    expect(accepted.status).toBe(101);
    accepted.webSocket?.accept();
    accepted.webSocket?.close(1000, "done");
  });

  it("takes each assertion once", async () => {
    const { key, identity } = await grantConnector(ACME, "acme");
    const token = await key.sign({ identity });
    const first = await dial(token);
    expect(first.status).toBe(101);
    first.webSocket?.accept();
    first.webSocket?.close(1000, "done");
    expect((await dial(token)).status).toBe(401);
  });

  it("takes ES256 keys, several keys at once, and clocks that differ a little", async () => {
    const es = await makeKey("es", "ES256");
    const ed = await makeKey("ed");
    const { identity } = await grantConnector(ACME, "acme", { keys: [es.jwk, ed.jwk] });
    const now = Math.floor(Date.now() / 1_000);
    const claims: Claims[] = [{ identity }, { identity, issuedAt: now + 50 }, { identity, issuedAt: now - 110 }];
    for (const key of [es, ed]) {
      for (const each of claims) {
        const response = await dial(await key.sign(each));
        expect(response.status).toBe(101);
        response.webSocket?.accept();
        response.webSocket?.close(1000, "done");
      }
    }
  });

  it("is forbidden to a disabled connector and unauthorized for a removed one", async () => {
    const { key, identity, grant } = await grantConnector(ACME, "acme");
    await laneStub(ACME).putConnector({ ...grant, disabled: true, revision: 2 });
    const disabled = await dial(await key.sign({ identity }));
    expect([disabled.status, disabled.headers.get("causeway-error")]).toEqual([403, "forbidden"]);
    await laneStub(ACME).removeConnector(grant.connectorId, 3);
    expect((await dial(await key.sign({ identity }))).status).toBe(401);
  });

  it("finds a tenant of another cluster by slug@cluster", async () => {
    const { key, identity } = await grantConnector("ten_acme_eu", "acme@eu");
    const response = await dial(await key.sign({ identity }));
    expect(response.status).toBe(101);
    response.webSocket?.accept();
    response.webSocket?.close(1000, "done");
  });
});

describe("grants", () => {
  it("are fenced by revision, and a removal is remembered", async () => {
    const { grant } = await grantConnector(ACME, "acme", { revision: 5 });
    const lane = laneStub(ACME);
    expect(await lane.putConnector({ ...grant, revision: 4, disabled: true })).toEqual({ applied: false, revision: 5 });
    expect(await lane.putConnector({ ...grant, revision: 5 })).toEqual({ applied: true, revision: 5 });
    expect(await lane.removeConnector(grant.connectorId, 4)).toEqual({ applied: false, revision: 5 });
    expect(await lane.removeConnector(grant.connectorId, 6)).toEqual({ applied: true, revision: 6 });
    expect(await lane.putConnector({ ...grant, revision: 6 })).toEqual({ applied: false, revision: 6 });
    expect(await lane.putConnector({ ...grant, revision: 7 })).toEqual({ applied: true, revision: 7 });
  });

  it("of another tenant are not taken", async () => {
    const { grant } = await grantConnector(ACME, "acme");
    await runInDurableObject(laneStub("ten_globex"), async (lane) => {
      await expect(lane.putConnector(grant)).rejects.toThrow("another tenant");
    });
  });
});

describe("live sockets", () => {
  it("end within two seconds when the connector is disabled, removed, or loses its key; what is under way gets an answer", async () => {
    const changes = [
      ["disabled", 4403],
      ["removed", 4403],
      ["key", 4401],
    ] as const;
    for (const [what, code] of changes) {
      const connector = await grantConnector(ACME, "acme");
      const peer = await connect(connector, { targets: ["revoked"] });
      const waiting = visit(ACME, "/", { target: "revoked", method: "POST", body: "x" });
      await until("the request is at the connector", () => peer.requests.length === 1);
      const start = Date.now();
      const { grant } = connector;
      const lane = laneStub(ACME);
      if (what === "disabled") await lane.putConnector({ ...grant, disabled: true, revision: 2 });
      else if (what === "removed") await lane.removeConnector(grant.connectorId, 2);
      else await lane.putConnector({ ...grant, keys: [(await makeKey("new")).jwk], revision: 2 });
      expect((await peer.closed).code).toBe(code);
      expect(Date.now() - start).toBeLessThan(2_000);
      const response = await waiting;
      expect([response.status, response.headers.get("causeway-error")]).toEqual([502, "connector-lost"]);
      expect((await lane.sessions()).filter(({ connectorId }) => connectorId === grant.connectorId)).toEqual([]);
    }
  });

  it("lose a target at once when the right to it is taken away", async () => {
    const connector = await grantConnector(ACME, "acme", { targets: ["right"] });
    const peer = await connect(connector, { targets: ["right", "other"], onOpen: answering("ok") });
    expect((await visit(ACME, "/", { target: "right" })).status).toBe(200);
    expect((await visit(ACME, "/", { target: "other" })).status).toBe(404);
    expect([await laneStub(ACME).accepts("right"), await laneStub(ACME).accepts("other")]).toEqual([true, false]);
    await laneStub(ACME).putConnector({ ...connector.grant, targets: [], revision: 2 });
    expect((await visit(ACME, "/", { target: "right" })).status).toBe(404);
    expect(peer.requests).toHaveLength(1);
    peer.socket.close(1000, "done");
  });

  it("are counted with their targets and load, and come and go as events", async () => {
    const connector = await grantConnector(ACME, "acme");
    const peer = await connect(connector, { instanceId: "instance-1", targets: ["one", "two", "Not A Target"] });
    const { connectorId, name } = connector.grant;
    const mine = async () => (await laneStub(ACME).sessions()).filter((session) => session.connectorId === connectorId);
    expect(await mine()).toMatchObject([
      { connector: name, instanceId: "instance-1", lane: "a", targets: ["one", "two"], inFlight: 0 },
    ]);
    peer.session.announceTargets(["three"]);
    await until("the new list is there", async () => (await mine())[0]?.targets.join() === "three");
    peer.socket.close(1000, "done");
    await until("it is gone", async () => (await mine()).length === 0);
    const about = async () => (await events()).filter((event) => event["connectorId"] === connectorId);
    await until("both events came", async () => (await about()).length === 2);
    const [online, offline] = await about();
    expect(online).toMatchObject({
      kind: "connector-online",
      tenantId: ACME,
      lane: "a",
      instanceId: "instance-1",
      reason: null,
    });
    expect(offline).toMatchObject({
      kind: "connector-offline",
      sessionId: online?.["sessionId"],
      reason: expect.stringContaining("1000"),
    });
  });

  it("answer the text ping without anybody being woken", async () => {
    const peer = await connect(await grantConnector(ACME, "acme"));
    peer.socket.send("ping");
    await until("pong", () => peer.notices.includes("text: pong"));
    peer.socket.close(1000, "done");
  });

  it("that break the protocol are closed with its code", async () => {
    const peer = await connect(await grantConnector(ACME, "acme"));
    peer.socket.send(new Uint8Array([1, 2, 3]));
    expect((await peer.closed).code).toBe(4400);
  });
});

describe("several instances", () => {
  it("share the requests", async () => {
    const connector = await grantConnector(ACME, "acme");
    const peers = await Promise.all(
      [1, 2].map(() => connect(connector, { targets: ["shared"], onOpen: answering("ok") })),
    );
    await Promise.all(Array.from({ length: 40 }, () => visit(ACME, "/", { target: "shared" })));
    for (const peer of peers) expect(peer.requests.length).toBeGreaterThan(8);
    for (const peer of peers) peer.socket.close(1000, "done");
  });

  it("send a request to the one that is less busy", async () => {
    const connector = await grantConnector(ACME, "acme");
    const hold = () => ({});
    const [busy, idle] = await Promise.all([1, 2].map(() => connect(connector, { targets: ["uneven"], onOpen: hold })));
    const pending = [];
    for (let i = 0; i < 10; i++) {
      pending.push(visit(ACME, "/", { target: "uneven" }));
      const seen = i + 1;
      await until("it arrived", () => (busy?.requests.length ?? 0) + (idle?.requests.length ?? 0) === seen);
    }
    expect([busy?.requests.length, idle?.requests.length]).toEqual([5, 5]);
    busy?.socket.close(1000, "done");
    idle?.socket.close(1000, "done");
    await Promise.all(pending);
  });

  it("replace their own older socket, which is told why", async () => {
    const connector = await grantConnector(ACME, "acme");
    const old = await connect(connector, { instanceId: "same", targets: ["replaced"] });
    const young = await connect(connector, { instanceId: "same", targets: ["replaced"], onOpen: answering("young") });
    expect(await old.closed).toMatchObject({ code: 4409 });
    expect(old.notices).toEqual([expect.stringContaining("replaced")]);
    expect(await (await visit(ACME, "/", { target: "replaced" })).text()).toBe("young");
    young.socket.close(1000, "done");
  });

  it("take over what another one refused before start, or lost before it answered, if it may be repeated", async () => {
    const connector = await grantConnector(ACME, "acme");
    const refusing = await connect(connector, { targets: ["retry"] });
    refusing.onOpen = (stream) => {
      stream.reset("refused-before-start", "busy");
      return {};
    };
    const good = await connect(connector, { targets: ["retry"] });
    good.onOpen = (stream, request) => {
      let text = "";
      return {
        data: (bytes) => void (text += new TextDecoder().decode(bytes)),
        end: () => answering(`good ${text}`)(stream, request),
      };
    };
    // Who is asked first is drawn by lot.
    await until("the refusing one was asked", async () => {
      const response = await visit(ACME, "/", { target: "retry", method: "POST", body: "body" });
      expect([response.status, await response.text()]).toEqual([200, "good body"]);
      return refusing.requests.length > 0;
    });

    // Now it takes the request and goes away: a PUT may be repeated, a POST may not.
    good.onOpen = answering("second");
    const statusWhenLost = async (method: string) => {
      const dying = await connect(connector, { targets: ["retry"] });
      dying.onOpen = () => {
        dying.socket.close(1001, "going");
        return {};
      };
      const statuses: number[] = [];
      while (dying.requests.length === 0)
        statuses.push((await visit(ACME, "/", { target: "retry", method, body: "b" })).status);
      return statuses.at(-1);
    };
    refusing.socket.close(1000, "done");
    await refusing.closed;
    expect(await statusWhenLost("PUT")).toBe(200);
    expect(await statusWhenLost("POST")).toBe(502);
    good.socket.close(1000, "done");
  });

  it("that drain get nothing new and finish what they have", async () => {
    const connector = await grantConnector(ACME, "acme");
    let finish = (): void => undefined;
    const peer = await connect(connector, { targets: ["drain"] });
    peer.onOpen = (stream, request) => {
      finish = () => answering("finished")(stream, request);
      return {};
    };
    const open = visit(ACME, "/", { target: "drain" });
    await until("it arrived", () => peer.requests.length === 1);
    peer.session.drain("SIGTERM");
    await until("the lane knows", async () => !(await laneStub(ACME).accepts("drain")));
    const late = await visit(ACME, "/", { target: "drain" });
    expect([late.status >= 400, late.headers.get("causeway-refused")]).toEqual([true, "1"]);
    finish();
    expect(await (await open).text()).toBe("finished");
    peer.socket.close(1000, "done");
  });
});

describe("a lane that is drained", () => {
  const EU = "ten_acme_eu";

  it("tells its connectors, takes nothing new, finishes what is open over the old socket, and serves again later", async () => {
    const connector = await grantConnector(EU, "acme@eu");
    let finish = (): void => undefined;
    const old = await connect(connector, { instanceId: "drained" });
    old.onOpen = (stream, request) => {
      finish = () => answering("finished")(stream, request);
      return {};
    };
    const open = visit(EU, "/");
    await until("it arrived", () => old.requests.length === 1);
    const lane = laneStub(EU);
    await lane.drain(2_500);
    expect(await lane.accepts("web")).toBe(false);
    await until("the connector is asked to move", () => old.goAways.length === 1);
    expect(old.goAways[0]).toMatchObject({ graceMs: 3_000, reconnectMinMs: 0, reconnectMaxMs: 1_250 });

    const young = await connect(connector, { instanceId: "drained", onOpen: answering("young") });
    expect(await lane.drain(2_500)).toEqual({ sockets: 1, inFlight: 1 });
    const late = await visit(EU, "/");
    expect([late.status, late.headers.get("causeway-error"), late.headers.get("causeway-refused")]).toEqual([
      503,
      "not-available",
      "1",
    ]);
    finish();
    expect(await (await open).text()).toBe("finished");
    expect([old.notices, young.notices]).toEqual([[], []]);

    // A third socket of the instance finds the old one without work.
    const third = await connect(connector, { instanceId: "drained", onOpen: answering("third") });
    expect((await old.closed).code).toBe(4410);
    expect((await young.closed).code).toBe(4409);
    expect(await lane.drain(2_500)).toEqual({ sockets: 0, inFlight: 0 });
    await until("it serves again", () => lane.accepts("web"));
    expect(await (await visit(EU, "/")).text()).toBe("third");
    third.socket.close(1000, "done");
  });

  it("cuts what is not finished when the time is over", async () => {
    const connector = await grantConnector(EU, "acme@eu");
    const peer = await connect(connector);
    const open = visit(EU, "/");
    await until("it arrived", () => peer.requests.length === 1);
    await laneStub(EU).drain(100);
    expect(await peer.closed).toMatchObject({ code: 4410, reason: "the time to drain is over" });
    expect((await open).headers.get("causeway-error")).toBe("connector-lost");
  });
});

describe("limits", () => {
  it("of a connector's streams are an over-capacity that was not started", async () => {
    const connector = await grantConnector(ACME, "acme");
    const peer = await connect(connector, { targets: ["full"], limits: { streams: 2 } });
    const open = [visit(ACME, "/", { target: "full" }), visit(ACME, "/", { target: "full" })];
    await until("both are there", () => peer.requests.length === 2);
    const third = await visit(ACME, "/", { target: "full" });
    expect([third.status, third.headers.get("causeway-error"), third.headers.get("retry-after")]).toEqual([
      503,
      "over-capacity",
      "5",
    ]);
    expect(third.headers.get("causeway-refused")).toBe("1");
    expect(await laneStub(ACME).accepts("full")).toBe(false);
    peer.socket.close(1000, "done");
    await Promise.all(open);
  });
});

describe("a lane that slept or was evicted", () => {
  it("keeps its sockets, their targets and rights, and goes on", async () => {
    const connector = await grantConnector(SLEEPY, "globex");
    const peer = await connect(connector, { targets: ["sleeper"], onOpen: answering("awake") });
    expect(await (await visit(SLEEPY, "/", { target: "sleeper" })).text()).toBe("awake");
    for (let i = 0; i < 3; i++) {
      await evictDurableObject(laneStub(SLEEPY));
      expect(await (await visit(SLEEPY, "/", { target: "sleeper" })).text()).toBe("awake");
      expect(
        await (await visit(SLEEPY, "/", { target: "sleeper", method: "POST", body: new Uint8Array(600_000) })).text(),
      ).toBe("awake");
    }
    expect(peer.socket.readyState).toBe(WebSocket.OPEN);
    peer.socket.close(1000, "done");
    await until("it is gone", async () =>
      (await laneStub(SLEEPY).sessions()).every(({ connectorId }) => connectorId !== connector.grant.connectorId),
    );
  });

  it("ends what was open, at both ends, when it dies in the middle, and is there again for who dials anew", async () => {
    const connector = await grantConnector(SLEEPY, "globex");
    const outcomes: string[] = [];
    const peer = await connect(connector, { targets: ["dying"] });
    peer.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      stream.write(bytesOf("begin"));
      return { closed: (outcome) => void outcomes.push(outcome.kind === "reset" ? outcome.reason : outcome.kind) };
    };
    const response = await visit(SLEEPY, "/", { target: "dying" });
    const reader = response.body?.getReader();
    await reader?.read();
    const abort = runInDurableObject(laneStub(SLEEPY), (_lane, state) => state.abort("test"));
    await expect(abort).rejects.toThrow("test");
    await expect(reader?.read()).rejects.toThrow();
    expect((await peer.closed).code).toBe(1006);
    expect(outcomes).toEqual(["session-lost"]);
    expect((await visit(SLEEPY, "/", { target: "dying" })).headers.get("causeway-error")).toBe("no-connector");
    const again = await connect(connector, { targets: ["dying"], onOpen: answering("again") });
    expect(await (await visit(SLEEPY, "/", { target: "dying" })).text()).toBe("again");
    again.socket.close(1000, "done");
  });
});
