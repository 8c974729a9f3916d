import { describe, expect, it } from "vitest";
import { CLOSE } from "./close-codes.ts";
import { FRAME, readFrames } from "./frame.ts";
import { createSession } from "./session.ts";
import type { Session, StreamEvents, StreamOutcome } from "./session.ts";
import { createPair, GET, LIMITS, SEND, text } from "./session.support.ts";

const framesOf = (message: Uint8Array): { type: number; flags: number }[] => {
  const frames: { type: number; flags: number }[] = [];
  readFrames(message, ({ type, flags }) => frames.push({ type, flags }) > 0);
  return frames;
};

const recorder = (): StreamEvents & { seen: string[]; outcome: StreamOutcome | null } => {
  const record = {
    seen: [] as string[],
    outcome: null as StreamOutcome | null,
    head: (head: { status: number }) => void record.seen.push(`head ${head.status}`),
    data: (bytes: Uint8Array) => void record.seen.push(`data ${text(bytes)}`),
    message: (m: { kind: string; data: Uint8Array }) => void record.seen.push(`${m.kind} ${text(m.data)}`),
    messageClose: (code: number, reason: string) => void record.seen.push(`close ${code} ${reason}`),
    end: (trailers: readonly (readonly [string, string])[]) =>
      void record.seen.push(`end ${trailers.map(([n, v]) => `${n}=${v}`).join()}`),
    writable: () => void record.seen.push("writable"),
    closed: (outcome: StreamOutcome) => {
      record.seen.push(outcome.kind === "finished" ? "finished" : `reset ${outcome.by} ${outcome.reason}`);
      record.outcome = outcome;
    },
  };
  return record;
};

const opened = (relay: Session, events: StreamEvents, request = GET) => {
  const result = relay.open(request, events);
  if (!result.ok) throw new Error(result.error.reason);
  return result.stream;
};

const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

describe("a request and its answer", () => {
  it("keeps order and duplicates of header fields, and the path as it came", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.respond(
        {
          status: 200,
          headers: [
            ["Set-Cookie", "a=1"],
            ["X", ""],
            ["Set-Cookie", "b=é"],
          ],
        },
        true,
      );
      return {};
    };
    const heads: unknown[] = [];
    const request = {
      ...GET,
      path: "/a%2Fb/../ü?x=%zz&&".replace("ü", "%c3"),
      headers: [
        ["A", "1"],
        ["a", "2"],
        ["A", "3"],
      ] as const,
    };
    opened(pair.relay, { head: (head) => void heads.push(head) }, request);
    pair.exchange();
    expect(pair.requests[0]).toMatchObject({
      path: request.path,
      headers: request.headers,
      method: "GET",
      target: "web",
    });
    expect(heads).toEqual([
      {
        status: 200,
        headers: [
          ["Set-Cookie", "a=1"],
          ["X", ""],
          ["Set-Cookie", "b=é"],
        ],
      },
    ]);
  });

  it("puts a small answer into one message: HEADERS and DATA with END", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      stream.write(bytes("hello"));
      stream.end();
      return {};
    };
    const events = recorder();
    opened(pair.relay, events);
    const open = pair.relay.takeMessage();
    expect(framesOf(open ?? new Uint8Array())).toEqual([{ type: FRAME.open, flags: 1 }]);
    pair.connector.receive(open ?? new Uint8Array());
    const answer = pair.connector.takeMessage();
    expect(framesOf(answer ?? new Uint8Array())).toEqual([
      { type: FRAME.headers, flags: 0 },
      { type: FRAME.data, flags: 1 },
    ]);
    pair.relay.receive(answer ?? new Uint8Array());
    expect(events.seen).toEqual(["head 200", "data hello", "end ", "finished"]);
    expect([pair.relay.openStreams, pair.connector.openStreams]).toEqual([0, 0]);
  });

  it("sets END on the head of an answer without a body", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.respond({ status: 304, headers: [] }, false);
      stream.end();
      return {};
    };
    opened(pair.relay, {});
    pair.connector.receive(pair.relay.takeMessage() ?? new Uint8Array());
    expect(framesOf(pair.connector.takeMessage() ?? new Uint8Array())).toEqual([{ type: FRAME.headers, flags: 1 }]);
  });

  it("passes interim heads and trailers", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.interim({ status: 103, headers: [["link", "</x>"]] });
      stream.respond({ status: 200, headers: [] }, false);
      stream.end([["grpc-status", "0"]]);
      return {};
    };
    const events = recorder();
    opened(pair.relay, events);
    pair.exchange();
    expect(events.seen).toEqual(["head 103", "head 200", "end grpc-status=0", "finished"]);
  });

  it("lets an answer end before the request's body did", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.respond({ status: 413, headers: [] }, true);
      stream.stopReceiving();
      return {};
    };
    const events = recorder();
    const stream = opened(pair.relay, events, { ...GET, method: "POST", end: false });
    stream.write(new Uint8Array(2 * LIMITS.streamWindowBytes));
    pair.exchange();
    expect(events.seen).toEqual(["head 413", "end ", "finished"]);
    expect([pair.relay.openStreams, pair.connector.openStreams]).toEqual([0, 0]);
    pair.expectAllCreditBack();
  });

  it("refuses heads that could split a message on the way", () => {
    const pair = createPair();
    for (const headers of [
      [["a", "x\r\ny: z"]],
      [["a b", "x"]],
      [["a", "x\0"]],
      [["a", "x".repeat(70_000)]],
    ] as const) {
      expect(pair.relay.open({ ...GET, headers }, {})).toMatchObject({ ok: false, error: { reason: "not-sendable" } });
    }
    expect(pair.relay.open({ ...GET, path: "/a b" }, {})).toMatchObject({
      ok: false,
      error: { reason: "not-sendable" },
    });
    pair.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [["evil", "a\nb"]] }, true);
      return {};
    };
    const events = recorder();
    opened(pair.relay, events);
    pair.exchange();
    expect(events.seen).toEqual(["reset peer protocol"]);
  });
});

describe("flow control", () => {
  it("sends no more than credit, says when there is room again, and grants what was consumed, not what came", () => {
    const pair = createPair();
    let held = 0;
    let room = Infinity;
    pair.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      const pump = (): void => {
        do room = stream.write(new Uint8Array(8192));
        while (room > 0);
      };
      pump();
      return { writable: pump };
    };
    const stream = opened(pair.relay, { data: (chunk) => void (held += chunk.length) });
    pair.exchange();
    expect(held).toBe(LIMITS.streamWindowBytes);
    expect(stream.heldBytes).toBe(LIMITS.streamWindowBytes);
    stream.consumed(100); // less than half a window: no frame
    pair.exchange();
    expect(held).toBe(LIMITS.streamWindowBytes);
    stream.consumed(LIMITS.streamWindowBytes / 2);
    pair.exchange();
    expect(held).toBe(LIMITS.streamWindowBytes + LIMITS.streamWindowBytes / 2 + 100);
    stream.reset("cancelled", "");
    pair.exchange();
    pair.expectAllCreditBack();
  });

  it("keeps other streams going while one reader stands still", () => {
    const pair = createPair({ limits: { ...LIMITS, sessionWindowBytes: 8 * LIMITS.streamWindowBytes } });
    const arrived = new Map<string, number>();
    pair.onOpen = (stream, request) => {
      stream.respond({ status: 200, headers: [] }, false);
      let left = request.path === "/stalled" ? 100_000_000 : 300_000;
      const pump = (): void => {
        while (left > 0) {
          const chunk = Math.min(left, 20_000);
          left -= chunk;
          const room = stream.write(new Uint8Array(chunk));
          if (left === 0) stream.end();
          if (room <= 0) return;
        }
      };
      pump();
      return { writable: pump };
    };
    for (let i = 0; i < 3; i++) opened(pair.relay, {}, { ...GET, path: "/stalled" });
    const live = opened(
      pair.relay,
      {
        data: (chunk) => {
          arrived.set("live", (arrived.get("live") ?? 0) + chunk.length);
          live.consumed(chunk.length);
        },
      },
      { ...GET, path: "/live" },
    );
    pair.exchange();
    expect(arrived.get("live")).toBe(300_000);
    expect(live.closed).toBe(true);
  });

  it("shrinks new windows as the budget fills, so that a thousand stalled readers fit", () => {
    const budget = { totalBytes: 4 * 1024 * 1024, committedBytes: 0 };
    const pair = createPair({
      limits: { ...LIMITS, streamWindowBytes: 1024 * 1024, sessionWindowBytes: 64 * 1024 * 1024, streams: 2000 },
      relayBudget: budget,
    });
    let held = 0;
    pair.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      const pump = (): void => {
        while (stream.write(new Uint8Array(16_384)) > 0);
      };
      pump();
      return { writable: pump };
    };
    for (let i = 0; i < 1000; i++) opened(pair.relay, { data: (chunk) => void (held += chunk.length) });
    pair.exchange();
    expect(held).toBeLessThanOrEqual(budget.totalBytes + 1000 * 16 * 1024);
    expect(held).toBeGreaterThanOrEqual(1000 * 16 * 1024);
    expect(budget.committedBytes).toBe(held);
    pair.relay.lost("test");
    expect(budget.committedBytes).toBe(0);
  });

  it("fails a session whose peer sends more than its credit", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      return {};
    };
    const events = recorder();
    opened(pair.relay, events);
    pair.exchange();
    const size = 60_000;
    const message = new Uint8Array(9 + size);
    message.set([size >>> 16, (size >>> 8) & 255, size & 255, FRAME.data, 0, 0, 0, 0, 1]);
    for (let sent = 0; sent <= LIMITS.streamWindowBytes; sent += size) pair.relay.receive(message);
    expect(pair.relayFailure?.closeCode).toBe(CLOSE.flowControl);
    expect(events.seen.at(-1)).toBe("reset session session-lost");
  });
});

describe("scheduling", () => {
  it("lets a small answer overtake a bulk one", () => {
    const pair = createPair();
    const order: string[] = [];
    pair.onOpen = (stream, request) => {
      stream.respond({ status: 200, headers: [] }, false);
      stream.write(new Uint8Array(request.path === "/bulk" ? LIMITS.streamWindowBytes : 10));
      stream.end();
      return { closed: () => void order.push(request.path) };
    };
    opened(pair.relay, {}, { ...GET, path: "/bulk" });
    opened(pair.relay, {}, { ...GET, path: "/bulk" });
    opened(pair.relay, {}, { ...GET, path: "/tiny" });
    pair.exchange();
    expect(order[0]).toBe("/tiny");
  });

  it("keeps a small answer behind at most one message of bulk, however many streams and bytes wait", () => {
    const pair = createPair({ limits: { ...LIMITS, sessionWindowBytes: 64 * LIMITS.streamWindowBytes } });
    pair.onOpen = (stream, request) => {
      stream.respond({ status: 200, headers: [] }, false);
      stream.write(new Uint8Array(request.path === "/bulk" ? LIMITS.streamWindowBytes : 10));
      stream.end();
      return {};
    };
    for (let i = 0; i < 50; i++) opened(pair.relay, {}, { ...GET, path: "/bulk", urgency: i % 8 });
    const requests = pair.relay.takeMessage() ?? new Uint8Array();
    pair.connector.receive(requests);
    pair.connector.takeMessage(); // what the socket holds already
    const tiny = recorder();
    opened(pair.relay, tiny, { ...GET, path: "/tiny", urgency: 7 });
    pair.connector.receive(pair.relay.takeMessage() ?? new Uint8Array());
    pair.relay.receive(pair.connector.takeMessage() ?? new Uint8Array());
    expect(tiny.seen.at(-1)).toBe("finished");
  });

  it("sends control before bodies", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      stream.write(new Uint8Array(LIMITS.streamWindowBytes));
      return {};
    };
    opened(pair.relay, {});
    pair.relay.ping();
    pair.connector.receive(pair.relay.takeMessage() ?? new Uint8Array());
    expect(framesOf(pair.connector.takeMessage() ?? new Uint8Array())[0]?.type).toBe(FRAME.pong);
  });
});

describe("tunnelled WebSockets", () => {
  it("carries text, binary, empty and long messages and the close, both ways", () => {
    const pair = createPair();
    const atConnector: string[] = [];
    pair.onOpen = (stream) => {
      stream.respond({ status: 101, headers: [["sec-websocket-protocol", "chat"]] }, false);
      return {
        message: (m) => {
          atConnector.push(`${m.kind} ${m.data.length}`);
          stream.consumed(m.creditBytes);
          stream.sendMessage(m.kind, m.data);
        },
        messageClose: (code, reason) => {
          atConnector.push(`close ${code} ${reason}`);
          stream.sendMessageClose(code, reason);
        },
      };
    };
    const events = recorder();
    const back: string[] = [];
    const stream = opened(
      pair.relay,
      {
        ...events,
        message: (m) => {
          back.push(`${m.kind} ${m.data.length}`);
          stream.consumed(m.creditBytes);
        },
      },
      { ...GET, end: false, upgrade: "websocket" },
    );
    pair.exchange();
    stream.sendMessage("text", bytes("héllo"));
    stream.sendMessage("binary", new Uint8Array());
    stream.sendMessage("binary", new Uint8Array(3 * LIMITS.streamWindowBytes));
    stream.sendMessageClose(4321, "bye");
    pair.exchange();
    expect(atConnector).toEqual(["text 6", "binary 0", `binary ${3 * LIMITS.streamWindowBytes}`, "close 4321 bye"]);
    expect(back).toEqual(atConnector.slice(0, 3));
    expect(events.seen).toEqual(["head 101", "close 4321 bye", "finished"]);
    pair.expectAllCreditBack();
  });

  it("treats an answer other than 101 as an ordinary one", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.respond({ status: 403, headers: [] }, false);
      stream.write(bytes("no"));
      stream.end();
      return {};
    };
    const events = recorder();
    opened(pair.relay, events, { ...GET, end: false, upgrade: "websocket" });
    pair.exchange();
    expect(events.seen).toEqual(["head 403", "data no", "end ", "finished"]);
    expect(pair.connector.openStreams).toBe(0);
  });

  it("carries messages that fit into a window however many idle sockets have used the budget up", () => {
    // The connector's side is a budget of its session's window and one message: the windows of 13 sockets are more.
    const pair = createPair();
    let got = 0;
    pair.onOpen = (stream) => {
      stream.respond({ status: 101, headers: [] }, false);
      return {
        message({ data, creditBytes }) {
          got += data.length;
          stream.consumed(creditBytes);
        },
      };
    };
    const sockets = Array.from({ length: 14 }, () =>
      opened(pair.relay, recorder(), { ...GET, end: false, upgrade: "websocket" }),
    );
    pair.exchange();
    for (let i = 0; i < 10; i++) {
      for (const socket of sockets) socket.sendMessage("binary", new Uint8Array(40_000));
      pair.exchange();
    }
    expect([got, pair.connector.openStreams]).toEqual([14 * 10 * 40_000, 14]);
  });

  it("ends the stream, not the session, when a message is too long", () => {
    const pair = createPair();
    pair.onOpen = (stream) => {
      stream.respond({ status: 101, headers: [] }, false);
      return {};
    };
    const events = recorder();
    const stream = opened(pair.relay, events, { ...GET, end: false, upgrade: "websocket" });
    pair.exchange();
    stream.sendMessage("binary", new Uint8Array(LIMITS.wsMessageBytes + 1));
    pair.exchange();
    expect(events.seen.at(-1)).toBe("reset peer body-too-large");
    expect(pair.relay.state).toBe("open");
    pair.expectAllCreditBack();
  });
});

describe("ends of streams and sessions", () => {
  it("tells each side once who ended a stream and why", () => {
    const pair = createPair();
    const atConnector = recorder();
    pair.onOpen = () => atConnector;
    const atRelay = recorder();
    const stream = opened(pair.relay, atRelay);
    pair.exchange();
    stream.reset("cancelled", "the visitor went away");
    stream.reset("internal", "again");
    pair.exchange();
    expect(atRelay.seen).toEqual(["reset local cancelled"]);
    expect(atConnector.seen).toEqual(["end ", "reset peer cancelled"].slice(1));
    expect(atConnector.outcome).toMatchObject({ text: "the visitor went away" });
  });

  it("says nothing of a stream that was given up before its OPEN had left", () => {
    const pair = createPair();
    opened(pair.relay, {}).reset("cancelled", "at once");
    expect(pair.relay.takeMessage()).toBeNull();
    pair.expectAllCreditBack();
    expect(pair.requests).toHaveLength(1);
  });

  it("refuses before start what comes while draining, and finishes what is open", () => {
    const pair = createPair();
    const waiting: (() => void)[] = [];
    pair.onOpen = (stream) => {
      waiting.push(() => stream.respond({ status: 204, headers: [] }, true));
      return {};
    };
    const first = recorder();
    opened(pair.relay, first);
    pair.exchange();
    pair.connector.drain("SIGTERM");
    const late = recorder();
    opened(pair.relay, late); // on its way while DRAIN is on its own
    pair.exchange();
    expect(late.seen).toEqual(["reset peer refused-before-start"]);
    expect(pair.relay.open(GET, {})).toMatchObject({ ok: false, error: { reason: "not-open" } });
    for (const answer of waiting) answer();
    pair.exchange();
    expect(first.seen).toEqual(["head 204", "end ", "finished"]);
  });

  it("refuses streams over the limit on the relay's side already", () => {
    const pair = createPair({ limits: { ...LIMITS, streams: 2 } });
    opened(pair.relay, {});
    opened(pair.relay, {});
    expect(pair.relay.open(GET, {})).toMatchObject({ ok: false, error: { reason: "too-many-streams" } });
  });

  it("closes all streams when the socket is lost", () => {
    const pair = createPair();
    const events = recorder();
    opened(pair.relay, events);
    pair.relay.lost("socket closed");
    pair.relay.lost("again");
    expect(events.seen).toEqual(["reset session session-lost"]);
    expect(pair.relay.takeMessage()).toBeNull();
  });

  it("goes on after the relay slept: old streams end, new ones work, late frames of old ones do no harm", () => {
    const pair = createPair();
    const atConnector = recorder();
    pair.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      stream.write(new Uint8Array(LIMITS.streamWindowBytes));
      return atConnector;
    };
    opened(pair.relay, {});
    pair.exchange();
    const late = [pair.connector.takeMessage()];
    const { peer } = pair.relay;
    if (peer === null) throw new Error("no hello");
    pair.restoreRelay(peer);
    for (const message of late) if (message !== null) pair.relay.receive(message);
    pair.onOpen = (stream) => {
      stream.respond({ status: 201, headers: [] }, true);
      return {};
    };
    const again = recorder();
    opened(pair.relay, again); // goes out right behind RESYNC
    pair.exchange();
    expect(atConnector.seen).toEqual(["reset session session-lost"]);
    expect(again.seen).toEqual(["head 201", "end ", "finished"]);
    pair.expectAllCreditBack();
  });
});

describe("the greeting", () => {
  it("fails on anything before HELLO, on a second one, and without a common version", () => {
    const fresh = (): { session: Session; failed: number[] } => {
      const failed: number[] = [];
      const session = createSession({
        role: "relay",
        now: () => 0,
        limits: LIMITS,
        send: SEND,
        identity: { instanceId: "", targets: [], sessionId: "s", software: "test" },
        events: { flushNeeded: () => undefined, failed: ({ closeCode }) => void failed.push(closeCode) },
      });
      return { session, failed };
    };
    const helloOf = (change: object): Uint8Array => {
      const body = bytes(
        JSON.stringify({
          versions: { min: 1, max: 1 },
          features: ["later"],
          limits: LIMITS,
          instanceId: "i",
          targets: ["web"],
          sessionId: "",
          software: "t",
          unknown: 1,
          ...change,
        }),
      );
      return new Uint8Array([0, body.length >>> 8, body.length & 255, FRAME.hello, 0, 0, 0, 0, 0, ...body]);
    };
    const first = fresh();
    first.session.receive(new Uint8Array([0, 0, 8, FRAME.ping, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]));
    expect(first.failed).toEqual([CLOSE.protocol]);
    const second = fresh();
    second.session.receive(helloOf({}));
    expect(second.session.state).toBe("open");
    second.session.receive(new Uint8Array([0, 0, 0, 0x7f, 0x80, 0, 0, 0, 0])); // unknown, ignorable
    expect(second.failed).toEqual([]);
    second.session.receive(new Uint8Array([0, 0, 0, 0x7f, 0, 0, 0, 0, 0]));
    expect(second.failed).toEqual([CLOSE.protocol]);
    const third = fresh();
    third.session.receive(helloOf({ versions: { min: 2, max: 3 } }));
    expect(third.failed).toEqual([CLOSE.version]);
    const fourth = fresh();
    fourth.session.receive(helloOf({}));
    fourth.session.receive(helloOf({}));
    expect(fourth.failed).toEqual([CLOSE.protocol]);
    const fifth = fresh();
    fifth.session.receive(new Uint8Array(LIMITS.messageBytes + 1));
    expect(fifth.failed).toEqual([CLOSE.tooLong]);
  });

  it("measures the round trip, and answers a flood of PINGs once a message", () => {
    const pair = createPair();
    const rtts: number[] = [];
    pair.onPong = (rtt) => void rtts.push(rtt);
    expect([pair.relay.ping(), pair.relay.ping()]).toEqual([true, false]);
    const ping = pair.relay.takeMessage();
    pair.time += 25;
    pair.connector.receive(ping ?? new Uint8Array());
    pair.exchange();
    expect(rtts).toEqual([25]);
    const flood = new Uint8Array(1000 * 17);
    for (let i = 0; i < 1000; i++) flood.set([0, 0, 8, FRAME.ping, 0, 0, 0, 0, 0, 9, 9, 9, 9], i * 17);
    pair.connector.receive(flood);
    expect(framesOf(pair.connector.takeMessage() ?? new Uint8Array())).toHaveLength(1);
  });
});

it("lets many streams queue less each than few, and never less than two frames", () => {
  const pair = createPair();
  pair.exchange();
  const upload = () => opened(pair.relay, recorder(), { ...GET, method: "POST", end: false });
  const first = upload();
  expect(first.writable).toBe(SEND.streamQueueBytes);
  const others = Array.from({ length: LIMITS.streams - 1 }, upload);
  expect([first, others.at(-1)].map((stream) => stream?.writable)).toEqual([
    2 * SEND.contendedFrameBytes,
    2 * SEND.contendedFrameBytes,
  ]);
});
