import { describe, expect, it } from "vitest";
import { answering, bytesOf, createMemoryLane } from "../../../test/support/memory-lane.ts";

const hold = () => ({});

describe("a request", () => {
  it("reaches a connector that announced the target, and its answer comes back to who asked (H78)", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({
      onOpen: (stream, request) => answering(`answer to ${request.path}`)(stream, request),
    });
    const visitors = ["/1", "/2", "/3"].map((path) => lane.request({ path }));
    lane.settle();
    expect(visitors.map(({ head, text, trailers }) => [head?.status, text, trailers])).toEqual([
      [200, "answer to /1", []],
      [200, "answer to /2", []],
      [200, "answer to /3", []],
    ]);
    expect(connector.requests[0]).toMatchObject({ target: "web", method: "GET", urgency: 3, deadlineMs: 50_000 });
    expect(visitors[0]?.about).toMatchObject({ lane: "a", attempts: 1, waitedMs: 0, software: "memory connector" });
    expect(lane.records).toMatchObject([{ status: 200, code: null, bytesDown: 12 }, {}, {}]);
    expect([lane.broker.inFlight, lane.broker.accountedBytes, lane.broker.busy]).toEqual([0, 0, false]);
  });

  it("passes interim heads, bodies in both directions and trailers", () => {
    const lane = createMemoryLane();
    const got: string[] = [];
    lane.connect({
      onOpen: (stream) => {
        stream.interim({ status: 103, headers: [["link", "</x>"]] });
        return {
          data: (bytes) => {
            got.push(new TextDecoder().decode(bytes));
            stream.consumed(bytes.length);
          },
          end: (trailers) => {
            stream.respond({ status: 200, headers: [] }, false);
            stream.write(bytesOf(got.join("")));
            stream.end(trailers);
          },
        };
      },
    });
    const visitor = lane.request({ method: "POST", body: "stream" });
    visitor.call.write(bytesOf("one "));
    lane.settle();
    visitor.call.write(bytesOf("two"));
    visitor.call.end([["x-sum", "2"]]);
    lane.settle();
    expect(visitor).toMatchObject({ text: "one two", trailers: [["x-sum", "2"]] });
    expect(visitor.interims.map(({ status }) => status)).toEqual([103]);
    expect(lane.records).toMatchObject([{ bytesUp: 7, bytesDown: 7 }]);
  });

  it("may be a WebSocket: messages and closes go both ways", () => {
    const lane = createMemoryLane();
    lane.connect({
      onOpen: (stream) => {
        stream.respond({ status: 101, headers: [] }, false);
        return {
          message: (message) => {
            stream.consumed(message.creditBytes);
            stream.sendMessage(message.kind, message.data);
          },
          messageClose: (code, reason) => stream.sendMessageClose(code, `${reason} yourself`),
        };
      },
    });
    const visitor = lane.request({ body: "websocket" });
    lane.settle();
    visitor.call.sendMessage("text", bytesOf("hello"));
    visitor.call.sendMessageClose(4000, "bye");
    lane.settle();
    expect(visitor).toMatchObject({ messages: ["hello"], socketClosed: { code: 4000, reason: "bye yourself" } });
    expect(lane.broker.inFlight).toBe(0);
  });

  it("whose visitor goes away is cancelled at the connector (P09)", () => {
    const lane = createMemoryLane();
    const outcomes: string[] = [];
    lane.connect({
      onOpen: () => ({ closed: (outcome) => void outcomes.push(outcome.kind === "reset" ? outcome.reason : "ok") }),
    });
    const visitor = lane.request();
    lane.settle();
    visitor.call.cancel("gone");
    lane.settle();
    expect([outcomes, lane.broker.inFlight, visitor.failure]).toEqual([["cancelled"], 0, null]);
  });

  it("fails at once, with codes that differ, when nobody serves the target (H76, H92)", () => {
    const lane = createMemoryLane();
    expect(lane.request().failure).toMatchObject({ code: "no-connector", tryElsewhere: true, retryAfterSeconds: 5 });
    const connector = lane.connect({ targets: ["web", "Not A Target"] });
    const unknown = lane.request({ target: "other" });
    expect(unknown.failure).toMatchObject({ code: "unknown-target", retryAfterSeconds: null });
    expect(unknown.failure?.detail).toContain('"other"');
    lane.grant({ targets: ["expected"] });
    expect(lane.request({ target: "expected" }).failure).toMatchObject({ code: "no-connector" });
    connector.session.report({ load: 0, unhealthy: ["web"] });
    lane.settle();
    expect(lane.request().failure).toMatchObject({ code: "no-connector", detail: expect.stringContaining("health") });
    expect([lane.broker.accepts("web"), lane.broker.sessions()[0]?.unhealthy]).toEqual([false, ["web"]]);
    connector.session.report({ load: 0, unhealthy: [] });
    lane.settle();
    expect(lane.broker.accepts("web")).toBe(true);
  });

  it("goes where less is under way, and where the connector says that it is idle (R01)", () => {
    const lane = createMemoryLane();
    const [one, two] = [lane.connect({ onOpen: hold }), lane.connect({ onOpen: hold })];
    for (let i = 0; i < 10; i++) lane.request();
    lane.settle();
    expect([one.requests.length, two.requests.length]).toEqual([5, 5]);
    one.session.report({ load: 0.9, unhealthy: [] });
    lane.settle();
    for (let i = 0; i < 10; i++) lane.request();
    lane.settle();
    expect([one.requests.length, two.requests.length]).toEqual([5, 15]);
  });

  it("waits for a connector as long as the tenant allows, with the beginning of its body (P17)", () => {
    const lane = createMemoryLane();
    lane.settings({ waitForConnectorMs: 10_000 });
    const visitor = lane.request({ method: "POST", body: "stream" });
    visitor.call.write(bytesOf("kept"));
    visitor.call.end();
    const late = lane.request();
    lane.advance(4_000);
    expect([visitor.failure, lane.broker.inFlight, lane.broker.busy]).toEqual([null, 2, true]);
    late.call.cancel("gone");
    let got = "";
    lane.connect({
      onOpen: (stream, request) => ({
        data: (bytes) => void (got += new TextDecoder().decode(bytes)),
        end: () => void answering(`got ${got}`)(stream, request),
      }),
    });
    expect([visitor.text, visitor.about?.waitedMs]).toEqual(["got kept", 4_000]);

    const empty = createMemoryLane();
    empty.settings({ waitForConnectorMs: 10_000 });
    const nobody = empty.request();
    empty.advance(9_999);
    expect(nobody.failure).toBeNull();
    empty.advance(1);
    expect(nobody.failure).toMatchObject({ code: "no-connector" });
  });
});

describe("a connector that fails", () => {
  it("is replaced by another one where that is provably safe (D14, R02)", () => {
    const cases = [
      ["refused", "POST", 200],
      ["refused", "GET", 200],
      ["lost", "PUT", 200],
      ["lost", "POST", "connector-lost"],
      ["refused with a long body", "POST", "over-capacity"],
      ["lost after an interim head", "GET", "connector-lost"],
      ["lost", "websocket", "connector-lost"],
    ] as const;
    for (const [how, method, outcome] of cases) {
      // 0: the first of two is drawn, and it stays the choice among equals.
      const lane = createMemoryLane({ random: () => 0 });
      const bad = lane.connect();
      let got = 0;
      const good = lane.connect({
        onOpen: (stream, request) => {
          if (request.end) return answering("good")(stream, request);
          return {
            data: (bytes) => {
              got += bytes.length;
              stream.consumed(bytes.length);
            },
            end: () => void answering("good")(stream, request),
          };
        },
      });
      const refuse = (): void => {
        if (how.startsWith("refused"))
          for (const stream of bad.session.streams()) stream.reset("refused-before-start", "busy");
        else bad.cut();
      };
      bad.onOpen = (stream) => {
        if (how.includes("interim")) stream.interim({ status: 103, headers: [] });
        return {};
      };
      const withBody = method === "POST" || method === "PUT";
      const visitor = lane.request({
        method: method === "websocket" ? "GET" : method,
        body: method === "websocket" ? "websocket" : withBody ? "stream" : "none",
      });
      const bytes = how.includes("long") ? 100_000 : 10;
      if (withBody) {
        visitor.call.write(new Uint8Array(bytes));
        visitor.call.end();
      }
      lane.settle();
      expect(bad.requests).toHaveLength(1);
      refuse();
      lane.settle();
      expect([how, method, visitor.head?.status ?? visitor.failure?.code]).toEqual([how, method, outcome]);
      if (outcome === 200)
        expect([good.requests.length, got, visitor.about?.attempts]).toEqual([1, withBody ? 10 : 0, 2]);
      else expect(good.requests).toHaveLength(0);
    }
  });

  it("breaks an answer off that had begun, with a reason (H88)", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({
      onOpen: (stream) => {
        stream.respond({ status: 200, headers: [] }, false);
        stream.write(bytesOf("begin"));
        return {};
      },
    });
    const visitor = lane.request();
    lane.settle();
    connector.cut();
    expect([visitor.text, visitor.broken?.code]).toEqual(["begin", "connector-lost"]);
    expect([lane.broker.inFlight, lane.broker.accountedBytes, lane.presence.at(-1)]).toEqual([
      0,
      0,
      `offline ${connector.grant.connectorId} i-ses_2`,
    ]);
  });

  it("is told from the target's own errors (H77)", () => {
    const lane = createMemoryLane();
    lane.connect({
      onOpen: (stream) => {
        stream.reset("target-tls", "certificate has expired");
        return {};
      },
    });
    const visitor = lane.request();
    lane.settle();
    expect(visitor.failure).toMatchObject({
      code: "target-tls",
      detail: 'The TLS connection to the target "web" failed (certificate has expired).',
      tryElsewhere: false,
    });
  });
});

describe("time", () => {
  it("for the first byte is over with an error that names target and limit; a late answer is dropped (H75, P08)", () => {
    const lane = createMemoryLane();
    lane.settings({ timeouts: { firstByteMs: 3_000 } });
    const outcomes: string[] = [];
    let answerLate = (): void => undefined;
    const connector = lane.connect({
      onOpen: (stream, request) => {
        answerLate = () => void answering("late")(stream, request);
        return { closed: (outcome) => void outcomes.push(outcome.kind === "reset" ? outcome.reason : "ok") };
      },
    });
    const [tenants, routes] = [
      lane.request(),
      lane.request({ timeouts: { firstByteMs: 1_000, idleMs: null, totalMs: null } }),
    ];
    lane.settle();
    expect(connector.requests.map(({ deadlineMs }) => deadlineMs)).toEqual([3_000, 1_000]);
    lane.advance(1_001);
    expect([tenants.failure, routes.failure?.detail]).toEqual([
      null,
      'The target "web" did not answer in time (limit 1 s).',
    ]);
    lane.advance(2_000);
    expect(tenants.failure?.code).toBe("target-timeout");
    answerLate();
    lane.settle();
    expect([outcomes, tenants.head, lane.broker.inFlight]).toEqual([
      ["deadline-exceeded", "deadline-exceeded"],
      null,
      0,
    ]);
  });

  it("for the first byte is not given anew to the next connector", () => {
    const lane = createMemoryLane({ random: () => 0 });
    const [bad, good] = [lane.connect(), lane.connect({ onOpen: hold })];
    lane.request();
    lane.advance(20_000);
    bad.cut();
    lane.settle();
    expect(good.requests[0]?.deadlineMs).toBe(30_000);
  });

  it("of a body that comes moves the deadline, one that stops does not (P10)", () => {
    const lane = createMemoryLane();
    lane.connect({ onOpen: hold });
    const visitor = lane.request({ method: "POST", body: "stream" });
    for (let i = 0; i < 4; i++) {
      visitor.call.write(bytesOf("x"));
      lane.advance(40_000);
    }
    expect(visitor.failure).toBeNull();
    lane.advance(11_000);
    expect(visitor.failure).toMatchObject({
      code: "deadline-exceeded",
      detail: expect.stringContaining("body stopped"),
    });
  });

  it("in all is a limit only where it is set; a stream that sends something now and then lives for hours (T09)", () => {
    const lane = createMemoryLane();
    let beat = (): void => undefined;
    lane.connect({
      onOpen: (stream) => {
        stream.respond({ status: 200, headers: [] }, false);
        beat = () => void stream.write(bytesOf("."));
        return {};
      },
    });
    const endless = lane.request();
    lane.settle();
    for (let i = 0; i < 10; i++) {
      beat();
      lane.advance(3_000_000);
    }
    expect(endless.broken).toBeNull();
    lane.advance(700_000);
    expect(endless.broken).toMatchObject({ detail: expect.stringContaining("nothing moved for 3600 s") });

    const limited = lane.request({ timeouts: { firstByteMs: null, idleMs: null, totalMs: 5_000 } });
    lane.settle();
    lane.advance(5_001);
    expect(limited.broken?.code).toBe("deadline-exceeded");
  });

  it("of a visitor who takes nothing is over for its stream alone (T01, T03)", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({ onOpen: (stream, request) => answering("some bytes")(stream, request) });
    const stalled = lane.request();
    stalled.reads = false;
    lane.settle();
    expect([stalled.text, lane.broker.inFlight]).toEqual(["some bytes", 1]);
    lane.advance(300_001);
    expect([stalled.broken?.detail, lane.broker.inFlight, connector.closed]).toEqual([
      expect.stringContaining("takes nothing"),
      0,
      null,
    ]);
    expect(lane.broker.accountedBytes).toBe(0);
  });
});

describe("rights at every stream (T15)", () => {
  it("are looked at when the request comes: targets, disabled, expired, read-only, tenant switched off", () => {
    const lane = createMemoryLane();
    const grant = lane.grant({ targets: ["web"] });
    lane.connect({ grant, targets: ["web", "other"], onOpen: answering("ok") });
    const outcome = (change: Parameters<typeof lane.request>[0] = {}) => {
      const visitor = lane.request(change);
      lane.settle();
      return visitor.head?.status ?? visitor.failure?.code;
    };
    expect([outcome(), outcome({ target: "other" })]).toEqual([200, "unknown-target"]);
    lane.grant({ ...grant, targets: ["other"] });
    expect([outcome(), outcome({ target: "other" })]).toEqual(["unknown-target", 200]);
    lane.grant({ ...grant, readOnly: true });
    expect([
      outcome(),
      outcome({ method: "HEAD" }),
      outcome({ method: "POST" }),
      outcome({ body: "websocket" }),
    ]).toEqual([200, 200, "forbidden", "forbidden"]);
    lane.settings({ disabled: true });
    expect(lane.request().failure).toMatchObject({ code: "not-available", tryElsewhere: false });
  });

  it("end for a suspended tenant: what is open breaks off, nothing new is taken, connectors stay (E13)", () => {
    const lane = createMemoryLane();
    const ends: string[] = [];
    const connector = lane.connect({
      onOpen: (stream, request) => {
        if (request.path === "/open") stream.respond({ status: 101, headers: [] }, false);
        if (request.path === "/begun") stream.respond({ status: 200, headers: [] }, false);
        return {
          closed: (outcome) => void ends.push(`${request.path} ${outcome.kind === "reset" ? outcome.reason : "ok"}`),
        };
      },
    });
    const socket = lane.request({ path: "/open", body: "websocket" });
    const download = lane.request({ path: "/begun" });
    const waiting = lane.request({ path: "/asked" });
    lane.settle();
    lane.settings({ suspended: true });
    lane.settle();
    expect([socket.broken?.code, download.broken?.code, waiting.failure?.code]).toEqual(
      Array.from({ length: 3 }, () => "tenant-suspended"),
    );
    expect(ends.toSorted()).toEqual(["/asked cancelled", "/begun cancelled", "/open cancelled"]);
    expect(lane.request().failure).toMatchObject({ code: "tenant-suspended", tryElsewhere: false });
    expect([lane.broker.accepts("web"), lane.broker.inFlight, connector.session.state]).toEqual([false, 0, "open"]);
    lane.settings({ suspended: false });
    const again = lane.request({ path: "/begun" });
    lane.settle();
    expect(again.head?.status).toBe(200);
  });

  it("are those of any connector that may: a read-only one does not stand in the way of another", () => {
    const lane = createMemoryLane();
    const readOnly = lane.connect({ grant: lane.grant({ readOnly: true }), onOpen: answering("no") });
    lane.connect({ onOpen: answering("yes") });
    const visitors = Array.from({ length: 20 }, () => lane.request({ method: "DELETE" }));
    lane.settle();
    expect([new Set(visitors.map(({ text }) => text)), readOnly.requests.length]).toEqual([new Set(["yes"]), 0]);
  });
});

describe("a tenant's limits (P16)", () => {
  it("are 429 with Retry-After for rates and requests under way, and never a reason to try the other lane", () => {
    const lane = createMemoryLane();
    lane.connect({ onOpen: hold });
    lane.settings({ limits: { concurrentRequests: 2 } });
    const open = [lane.request(), lane.request()];
    expect(lane.request().failure).toMatchObject({ code: "rate-limited", retryAfterSeconds: 1, tryElsewhere: false });
    for (const { call } of open) call.cancel("done");
    expect(lane.request().failure).toBeNull();

    lane.settings({ limits: { requestsPerSecond: 2 } });
    const codes = () => [1, 2, 3].map(() => lane.request().failure?.code ?? "ok");
    expect(codes()).toEqual(["ok", "ok", "rate-limited"]);
    lane.advance(1_000);
    expect(codes()).toEqual(["ok", "ok", "rate-limited"]);

    lane.settings({ limits: { requestsPerSecondPerVisitor: 1 } });
    const from = (clientAddress: string | null) => lane.request({ clientAddress }).failure?.code ?? "ok";
    expect([from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.2"), from(null), from(null)]).toEqual([
      "ok",
      "rate-limited",
      "ok",
      "ok",
      "ok",
    ]);
  });

  it("are 413 for bodies: at once when the length is known, else when it is passed", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({ onOpen: hold });
    lane.settings({ limits: { bodyBytes: 1_000 } });
    const declared = lane.request({ method: "POST", body: "stream", bodyBytes: 1_001 });
    expect([declared.failure?.code, connector.requests.length]).toEqual(["body-too-large", 0]);
    const counted = lane.request({ method: "POST", body: "stream" });
    counted.call.write(new Uint8Array(1_000));
    lane.settle();
    expect(counted.failure).toBeNull();
    counted.call.write(new Uint8Array(1));
    lane.settle();
    expect([counted.failure?.code, counted.call.closed, connector.session.openStreams]).toEqual([
      "body-too-large",
      true,
      0,
    ]);
  });

  it("hold for connectors: more sockets of one that is here, but no further one", () => {
    const lane = createMemoryLane({ limits: { socketsMax: 3 } });
    lane.settings({ limits: { connectors: 1 } });
    const { grant } = lane.connect();
    expect([lane.broker.hasRoomFor(grant.connectorId), lane.broker.hasRoomFor("con_other")]).toEqual(["room", "full"]);
    lane.settings({ limits: {} });
    expect(lane.broker.hasRoomFor("con_other")).toBe("room");
    lane.connect();
    lane.connect();
    expect(lane.broker.hasRoomFor("con_other")).toBe("full");
  });
});
