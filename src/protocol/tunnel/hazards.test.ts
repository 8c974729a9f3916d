import { describe, expect, it } from "vitest";
import { CLOSE } from "./close-codes.ts";
import { FLAG, FRAME, readFrames, u32 } from "./frame.ts";
import { encodeOpen } from "./head.ts";
import { MessageBuilder } from "./message-builder.ts";
import { createSession } from "./session.ts";
import type { ByteBudget, Session, SessionEvents, SessionFailure, Stream, StreamEvents } from "./session.ts";
import { GET, LIMITS, SEND } from "./session.support.ts";

/** What hostile or broken peers do, by the names that the suites of other multiplexers have for it. */
interface Alone {
  readonly session: Session;
  readonly failures: SessionFailure[];
  readonly budget: ByteBudget;
  /** Everything that waits, as a count of frames by type. */
  readonly sent: () => Map<number, number>;
}

const helloOf = (role: "relay" | "connector"): Uint8Array =>
  createSession({
    role,
    now: () => 0,
    limits: LIMITS,
    send: SEND,
    identity: { instanceId: "i", targets: ["web"], sessionId: "s", software: "" },
    events: { flushNeeded: () => undefined, failed: () => undefined },
  }).takeMessage() ?? new Uint8Array();

function alone(role: "relay" | "connector", events: Partial<SessionEvents> = {}): Alone {
  const failures: SessionFailure[] = [];
  const budget = { totalBytes: 16 * 1024 * 1024, committedBytes: 0 };
  const session = createSession({
    role,
    now: () => 0,
    limits: LIMITS,
    send: SEND,
    budget,
    identity: { instanceId: "i", targets: ["web"], sessionId: "s", software: "" },
    events: { flushNeeded: () => undefined, failed: (failure) => void failures.push(failure), ...events },
  });
  session.receive(helloOf(role === "relay" ? "connector" : "relay"));
  session.takeMessage();
  return {
    session,
    failures,
    budget,
    sent() {
      const frames = new Map<number, number>();
      for (let message = session.takeMessage(); message !== null; message = session.takeMessage()) {
        expect(message.length).toBeLessThanOrEqual(LIMITS.messageBytes);
        readFrames(message, ({ type }) => frames.set(type, (frames.get(type) ?? 0) + 1).size > 0);
      }
      return frames;
    },
  };
}

const frame = (type: number, streamId: number, payload: Uint8Array | null = null, flags = 0): Uint8Array => {
  const builder = new MessageBuilder((bytes) => new Uint8Array(bytes));
  builder.add(type, flags, streamId, payload);
  return builder.build() ?? new Uint8Array();
};
const json = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const openPayload = (windowBytes = 70_000): Uint8Array => {
  const encoded = encodeOpen(GET, windowBytes);
  if (!encoded.ok) throw new Error("not encoded");
  return encoded.payload;
};
const OPEN = openPayload();

function openedAt(relay: Session, events: StreamEvents = {}, request = GET): Stream {
  const result = relay.open(request, events);
  if (!result.ok) throw new Error(result.error.reason);
  return result.stream;
}

describe("a peer that floods", () => {
  it("with OPEN and RESET (rapid reset, CVE-2023-44487) leaves nothing behind", () => {
    const outcomes: string[] = [];
    const { session, failures, budget, sent } = alone("connector", {
      open: () => ({ closed: ({ kind }) => void outcomes.push(kind) }),
    });
    for (let id = 1; id < 40_000; id += 2) {
      session.receive(frame(FRAME.open, id, OPEN));
      session.receive(frame(FRAME.reset, id, new Uint8Array([1])));
    }
    expect([failures.length, session.openStreams, budget.committedBytes, outcomes.length]).toEqual([0, 0, 0, 20_000]);
    expect(sent().size).toBe(0);
  });

  it("with streams beyond the limit, without reading the refusals, is closed", () => {
    const { session, failures, sent } = alone("connector", { open: () => ({}) });
    for (let id = 1; id < 8_000; id += 2) session.receive(frame(FRAME.open, id, OPEN));
    expect([session.openStreams, failures.length]).toEqual([LIMITS.streams, 0]);
    expect(sent()).toEqual(new Map([[FRAME.reset, 4_000 - LIMITS.streams]]));
    for (let id = 8_001; id < 30_000; id += 2) session.receive(frame(FRAME.open, id, OPEN));
    expect(failures[0]?.closeCode).toBe(CLOSE.overload);
  });

  it("with PING gets one answer for all that it did not wait for", () => {
    const { session, sent } = alone("connector");
    for (let i = 0; i < 20_000; i++) session.receive(frame(FRAME.ping, 0, new Uint8Array(8)));
    expect(sent()).toEqual(new Map([[FRAME.pong, 1]]));
  });

  it("with settings whose acknowledgements it does not read is closed", () => {
    const { session, failures } = alone("connector", {
      config: ({ revision }) => session.acknowledgeConfig({ revision, ok: true, reason: "" }),
    });
    const config = { revision: 1, targetsJson: null, keepAliveMs: null, reconnectMaxMs: null, leaveInMs: null };
    for (let i = 0; i < 10_000; i++) session.receive(frame(FRAME.config, 0, json(config)));
    expect(failures.map(({ closeCode }) => closeCode)).toEqual([CLOSE.overload]);
  });

  it("with empty DATA loses the stream, not more", () => {
    const { session, failures, sent } = alone("connector", { open: () => ({}) });
    session.receive(frame(FRAME.open, 1, OPEN));
    for (let i = 0; i < 10_000; i++) session.receive(frame(FRAME.data, 1));
    expect([session.openStreams, failures.length, sent().get(FRAME.reset)]).toEqual([0, 0, 1]);
  });

  it("with fragments of WebSocket messages is charged for them, and held to what the budget has", () => {
    const { session, failures, budget } = alone("connector", {
      open(stream) {
        stream.respond({ status: 101, headers: [] }, false);
        return {};
      },
    });
    for (let i = 0; i < 4; i++) session.receive(frame(FRAME.open, 1 + 2 * i, OPEN, FLAG.upgrade));
    const part = new Uint8Array(16_001).fill(1);
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 4; i++)
        session.receive(frame(FRAME.wsMessage, 1 + 2 * i, round % 2 === 0 ? part : part.subarray(0, 1)));
      while (session.takeMessage() !== null);
    }
    expect(failures).toEqual([]);
    expect(session.openStreams).toBe(0); // each went beyond the longest message
    expect(budget.committedBytes).toBe(0);
  });
});

describe("a peer that breaks flow control", () => {
  it("by credit beyond all bounds is closed", () => {
    for (const id of [0, 1]) {
      const { session, failures } = alone("relay");
      openedAt(session);
      for (let i = 0; i < 3; i++) session.receive(frame(FRAME.window, id, u32(0x7fffffff)));
      expect(failures.map(({ closeCode }) => closeCode)).toEqual([CLOSE.flowControl]);
    }
  });

  it("by a first window beyond all bounds gets no more than the bound", () => {
    const { session, failures } = alone("connector", { open: () => ({}) });
    session.receive(frame(FRAME.open, 1, openPayload(0xffffffff)));
    session.receive(frame(FRAME.window, 1, u32(1)));
    expect(failures.map(({ closeCode }) => closeCode)).toEqual([CLOSE.flowControl]);
  });

  it("can make it hold the sum of the streams' windows, and not a byte more", () => {
    const { session, failures } = alone("relay");
    for (let i = 0; i < 20; i++) openedAt(session);
    for (let i = 0; i < 20; i++) {
      session.receive(frame(FRAME.headers, 1 + 2 * i, new Uint8Array([0, 200, 0, 0])));
      session.receive(frame(FRAME.data, 1 + 2 * i, new Uint8Array(64 * 1024)));
    }
    expect([failures.length, session.openStreams]).toEqual([0, 20]);
    session.receive(frame(FRAME.data, 1, new Uint8Array(1)));
    expect(failures.map(({ closeCode }) => closeCode)).toEqual([CLOSE.flowControl]);
  });

  it("by reading nothing while it is granted credit makes no pile of grants", () => {
    const { session, failures, sent } = alone("relay");
    const streams = Array.from({ length: 3 }, () => openedAt(session));
    sent();
    const half = new Uint8Array(LIMITS.streamWindowBytes / 2);
    streams.forEach(({ id }) => session.receive(frame(FRAME.headers, id, new Uint8Array([0, 200, 0, 0]))));
    for (let i = 0; i < 10_000; i++) {
      const stream = streams[i % 3];
      if (stream === undefined) continue;
      session.receive(frame(FRAME.data, stream.id, half));
      stream.consumed(half.length);
    }
    expect(failures).toEqual([]);
    expect(sent()).toEqual(new Map([[FRAME.window, 4]])); // one a stream, one for the session
  });
});

describe("a peer that breaks the order", () => {
  it("by using an id again, an even one, or one that was never opened, is closed", () => {
    for (const messages of [
      [frame(FRAME.open, 5, OPEN), frame(FRAME.open, 5, OPEN)],
      [frame(FRAME.open, 5, OPEN), frame(FRAME.open, 3, OPEN)],
      [frame(FRAME.open, 2, OPEN)],
      [frame(FRAME.open, 0, OPEN)],
      [frame(FRAME.data, 7, new Uint8Array(1))],
      [frame(FRAME.reset, 7, new Uint8Array([1]))],
      [frame(FRAME.open, 5, OPEN), frame(FRAME.window, 4, u32(1))],
    ]) {
      const { session, failures } = alone("connector", { open: () => ({}) });
      for (const message of messages) session.receive(message);
      expect(failures.map(({ closeCode }) => closeCode)).toEqual([CLOSE.protocol]);
    }
  });

  it("by sending what is the other role's is closed", () => {
    const wrong = {
      relay: [FRAME.goAway, FRAME.replaced, FRAME.tokenOk, FRAME.config, FRAME.resync, FRAME.open],
      connector: [FRAME.targets, FRAME.drain, FRAME.report, FRAME.token, FRAME.configAck, FRAME.resynced],
    };
    for (const role of ["relay", "connector"] as const) {
      for (const type of wrong[role]) {
        const { session, failures } = alone(role);
        const value = { reason: "", targets: [], load: 0, unhealthy: [], token: "t", revision: 1, ok: true };
        session.receive(frame(type, 0, type === FRAME.resync || type === FRAME.resynced ? u32(1) : json(value)));
        expect(failures.map(({ closeCode }) => closeCode)).toEqual([CLOSE.protocol]);
      }
    }
  });

  it("by body after its end loses the stream", () => {
    const { session, failures, sent } = alone("connector", { open: () => ({}) });
    session.receive(frame(FRAME.open, 1, OPEN));
    session.receive(frame(FRAME.data, 1, new Uint8Array(10), FLAG.end));
    session.receive(frame(FRAME.data, 1, new Uint8Array(10)));
    expect([failures.length, session.openStreams, sent().get(FRAME.reset)]).toEqual([0, 0, 1]);
  });

  it("by frames for streams that have ended does no harm, and gets its credit back", () => {
    const { session, failures, sent } = alone("relay");
    const stream = openedAt(session);
    sent();
    stream.reset("cancelled", "");
    for (let i = 0; i < 1000; i++) session.receive(frame(FRAME.data, stream.id, new Uint8Array(60_000)));
    session.receive(frame(FRAME.window, stream.id, u32(0x7fffffff)));
    session.receive(frame(FRAME.window, stream.id, u32(0x7fffffff)));
    expect([failures.length, session.state]).toEqual([0, "open"]);
  });
});

describe("ends that cross", () => {
  it("GOAWAY and an OPEN before it: the stream is served, later ones are refused here", () => {
    const opened: number[] = [];
    const notices: string[] = [];
    const connector = alone("connector", {
      open: ({ id }) => {
        opened.push(id);
        return {};
      },
      goAway: ({ reason }) => void notices.push(reason),
    });
    const relay = alone("relay");
    openedAt(relay.session);
    relay.session.goAway({ graceMs: 1, reconnectMinMs: 0, reconnectMaxMs: 1, reason: "deploy" });
    expect(relay.session.open(GET, {})).toMatchObject({ ok: false, error: { reason: "not-open" } });
    connector.session.receive(relay.session.takeMessage() ?? new Uint8Array());
    expect([opened, notices]).toEqual([[1], ["deploy"]]);
  });

  it("one direction ends long before the other", () => {
    let stream: Stream | null = null;
    const seen: string[] = [];
    const { session } = alone("connector", {
      open(opened) {
        stream = opened;
        return { end: () => void seen.push("end"), closed: ({ kind }) => void seen.push(kind) };
      },
    });
    session.receive(frame(FRAME.open, 1, OPEN));
    session.receive(frame(FRAME.data, 1, null, FLAG.end));
    expect(session.openStreams).toBe(1);
    const held: Stream | null = stream;
    if (held === null) throw new Error("not opened");
    const answer: Stream = held;
    answer.respond({ status: 200, headers: [] }, false);
    answer.write(new Uint8Array(10));
    while (session.takeMessage() !== null);
    expect(seen).toEqual(["end"]);
    answer.end();
    while (session.takeMessage() !== null);
    expect([seen, session.openStreams]).toEqual([["end", "finished"], 0]);
  });
});

describe("frames of the session", () => {
  it("carry reports, tokens and settings, and refuse what the protocol does not carry", () => {
    const seen: unknown[] = [];
    const connector = alone("connector", {
      config: (config) => void seen.push(config),
      tokenAccepted: (lifetimeMs) => void seen.push(lifetimeMs),
    });
    const relay = alone("relay", {
      report: (report) => void seen.push(report),
      token: (token) => void seen.push(token),
      configAcknowledged: (ack) => void seen.push(ack),
    });
    const config = { revision: 7, targetsJson: "{}", keepAliveMs: 1, reconnectMaxMs: null, leaveInMs: 5 };
    const ack = { revision: 7, ok: false, reason: "no" };
    const report = { load: 0.25, unhealthy: ["web"] };
    connector.session.report(report);
    expect(connector.session.renewToken("abc.DEF-_~+/==")).toBe(true);
    connector.session.acknowledgeConfig({ ...ack, reason: "no" });
    relay.session.tokenAccepted(1234.5);
    expect(relay.session.pushConfig(config)).toBe(true);
    relay.session.receive(connector.session.takeMessage() ?? new Uint8Array());
    connector.session.receive(relay.session.takeMessage() ?? new Uint8Array());
    expect(seen).toEqual([report, "abc.DEF-_~+/==", ack, 1234, config]);
    expect(connector.session.renewToken("a b")).toBe(false);
    expect(connector.session.renewToken("x".repeat(16 * 1024 + 1))).toBe(false);
    expect(relay.session.pushConfig({ ...config, targetsJson: "x".repeat(128 * 1024) })).toBe(false);
    expect([connector.sent().size, relay.sent().size]).toEqual([0, 0]);
  });
});
