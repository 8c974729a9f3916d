import { describe, expect, it } from "vitest";
import { CLOSE } from "./close-codes.ts";
import { createSession } from "./session.ts";
import type { Session, SessionFailure, Stream } from "./session.ts";
import { GET, LIMITS, SEND } from "./session.support.ts";

/**
 * T10: real conversations with bytes changed, cut, doubled and swapped, fed to either side. It goes on or fails with a close code of ours,
 * never throws, and holds no more than its streams' windows. (codec.test.ts feeds it bytes from nowhere.)
 */
const ROUNDS = 3_000;
const KNOWN: number[] = Object.values(CLOSE);

/** mulberry32: the same rounds each time. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface End {
  readonly session: Session;
  readonly failures: SessionFailure[];
  readonly budget: { totalBytes: number; committedBytes: number };
}

/** A host that answers everything and asks for everything, the same way each time. */
function createEnd(role: "relay" | "connector"): End {
  const failures: SessionFailure[] = [];
  const budget = { totalBytes: 1024 * 1024, committedBytes: 0 };
  let time = 0;
  const session: Session = createSession({
    role,
    now: () => (time += 1),
    limits: LIMITS,
    send: SEND,
    budget,
    streamWindowMaxBytes: 4 * LIMITS.streamWindowBytes,
    identity: { instanceId: "i", targets: ["web"], sessionId: "s", software: "" },
    events: {
      flushNeeded: () => undefined,
      failed: (failure) => void failures.push(failure),
      token: () => session.tokenAccepted(5),
      config: ({ revision }) => session.acknowledgeConfig({ revision, ok: true, reason: "" }),
      hello() {
        if (role === "connector") {
          session.report({ load: 0.5, unhealthy: [] });
          session.renewToken("token");
          return;
        }
        session.pushConfig({ revision: 1, targetsJson: "{}", keepAliveMs: 1, reconnectMaxMs: 2, leaveInMs: 3 });
        session.ping();
        for (let i = 0; i < 6; i++) ask(session, i);
      },
      open(stream, request) {
        const upgraded = request.upgrade !== null;
        stream.respond({ status: upgraded ? 101 : 200, headers: [["a", "b"]] }, false);
        if (upgraded) stream.sendMessage("text", new Uint8Array(1000));
        else stream.write(new Uint8Array(30_000));
        if (upgraded) stream.sendMessageClose(1000, "bye");
        else stream.end([["check", "sum"]]);
        return consumer(() => stream);
      },
    },
  });
  return { session, failures, budget };
}

const consumer = (stream: () => Stream | null) => ({
  data: (bytes: Uint8Array): void => stream()?.consumed(bytes.length),
  message: ({ creditBytes }: { creditBytes: number }): void => stream()?.consumed(creditBytes),
  messageClose: (code: number): void => stream()?.sendMessageClose(code, ""),
});

function ask(session: Session, index: number): void {
  const upgrade = index % 3 === 2 ? "websocket" : null;
  let stream: Stream | null = null;
  const opened = session.open(
    { ...GET, end: index % 3 === 0, upgrade },
    consumer(() => stream),
  );
  if (!opened.ok) return;
  ({ stream } = opened);
  if (index % 3 !== 1) return;
  stream.write(new Uint8Array(20_000));
  if (index === 1) stream.end();
  else stream.reset("cancelled", "no more");
}

/** What each side received in an undisturbed conversation. */
function record(): Record<"relay" | "connector", Uint8Array[]> {
  const relay = createEnd("relay");
  const connector = createEnd("connector");
  const received: Record<"relay" | "connector", Uint8Array[]> = { relay: [], connector: [] };
  for (;;) {
    const down = relay.session.takeMessage();
    const up = connector.session.takeMessage();
    if (down === null && up === null) break;
    if (down !== null) received.connector.push(down);
    if (up !== null) received.relay.push(up);
    if (down !== null) connector.session.receive(down);
    if (up !== null) relay.session.receive(up);
  }
  expect([relay.failures, connector.failures, relay.session.openStreams]).toEqual([[], [], 0]);
  return received;
}

function disturb(messages: readonly Uint8Array[], random: (below: number) => number): Uint8Array[] {
  const disturbed = messages.map((message) => message.slice());
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(disturbed.length);
    const message = disturbed[at] ?? new Uint8Array();
    const where = random(Math.min(message.length, random(2) === 0 ? 64 : message.length) || 1);
    const kind = random(6);
    if (kind <= 1) message[where] = random(256);
    else if (kind === 2) message[where] = (message[where] ?? 0) ^ (1 << random(8));
    else if (kind === 3) disturbed[at] = message.subarray(0, where);
    else if (kind === 4) disturbed.splice(random(disturbed.length), 0, message);
    else disturbed.splice(at, 1);
    if (disturbed.length === 0) disturbed.push(new Uint8Array(random(40)));
  }
  return disturbed;
}

describe("a disturbed conversation", () => {
  it(`ends in order, ${ROUNDS} times at each side`, () => {
    const received = record();
    const random = createRandom(1);
    let failed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      for (const role of ["relay", "connector"] as const) {
        const { session, failures, budget } = createEnd(role);
        session.takeMessage();
        for (const message of disturb(received[role], random)) {
          session.receive(message);
          for (let sent = session.takeMessage(); sent !== null; sent = session.takeMessage())
            expect(sent.length).toBeLessThanOrEqual(LIMITS.messageBytes);
        }
        expect(failures.length).toBeLessThanOrEqual(1);
        for (const { closeCode } of failures) expect(KNOWN).toContain(closeCode);
        if (failures.length > 0) expect([session.state, session.openStreams]).toEqual(["closed", 0]);
        failed += failures.length;
        session.lost("over");
        expect(budget.committedBytes).toBe(0);
      }
    }
    expect(failed).toBeGreaterThan(ROUNDS / 10); // it does disturb
    expect(failed).toBeLessThan(2 * ROUNDS); // not only beyond repair
  });
});
