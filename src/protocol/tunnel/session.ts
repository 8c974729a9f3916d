import { createAnnouncements } from "./announcements.ts";
import { CLOSE } from "./close-codes.ts";
import * as control from "./control.ts";
import type { Hello } from "./control.ts";
import { FLAG, FRAME, readFrames, readU32, u32, writeU32 } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { decodeOpen, encodeOpen, knownUrgency } from "./head.ts";
import { CREDIT_BYTES_MAX, STREAM_ID_MAX } from "./limits.ts";
import { encodeReset } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { RoundTrip } from "./round-trip.ts";
import type { Carrier } from "./send-queue.ts";
import { PING_BYTES, sessionFrame } from "./session-frames.ts";
import type { SessionFramePort } from "./session-frames.ts";
import { StreamCore } from "./stream.ts";
import type { StreamPort } from "./stream.ts";
import { creditOf, streamFrame } from "./stream-frames.ts";
import { StreamTable } from "./stream-table.ts";
import type { ByteBudget, OpenRefusal, PeerHello, Session, SessionOptions } from "./types.ts";
import { firstWindowBytes, SessionWindow, StreamWindow } from "./window.ts";
import type { WindowPolicy } from "./window.ts";

export type * from "./types.ts";

/** A peer that never got further than HELLO: nothing of it is known yet, so nothing may be sent to it but our HELLO. */
const UNKNOWN_PEER_MESSAGE_BYTES = 64 * 1024;

/** So many streams queue as much as they may; more of them share that, down to two frames each, so that a crowd that stands still holds little. */
const FULL_QUEUES = 16;

/** A session over one socket. `docs/protocol.md` describes the wire, types.ts every call and event. */
export function createSession(options: SessionOptions): Session {
  const { role, now, limits, send, identity, events, restored } = options;
  const budget: ByteBudget = options.budget ?? {
    totalBytes: limits.sessionWindowBytes + limits.wsMessageBytes,
    committedBytes: 0,
  };
  const carrier: Carrier = { creditBytes: 0, peerMessageBytes: UNKNOWN_PEER_MESSAGE_BYTES };
  const outbox = new Outbox(send, carrier, options.allocate, () => events.flushNeeded());
  const roundTrip = new RoundTrip();
  const streams = new StreamTable<StreamCore>();

  let state: Session["state"] = "greeting";
  let peer: PeerHello | null = null;
  let window = new SessionWindow(limits.sessionWindowBytes);
  let nextId = 1;
  let highestSeenId = 0;
  let lastReceivedMs = now();
  /** `sentMs` null: not in a message yet. */
  let ping: { readonly nonce: number; sentMs: number | null } | null = null;
  let pings = 0;
  let pongQueued = false;
  let rttMs: number | null = null;
  let resyncNonce: number | null = null; // set: what comes for streams is from before our sleep, until RESYNCED

  const fail = (closeCode: number, reason: string): void => {
    if (state === "closed") return;
    end(reason);
    events.failed({ closeCode, reason });
  };
  const breach = (reason: string): void => fail(CLOSE.protocol, reason);

  const end = (text: string): void => {
    state = "closed";
    outbox.clear();
    endStreams(text);
  };
  const endStreams = (text: string): void => {
    for (const stream of streams.all()) stream.close({ kind: "reset", by: "session", reason: "session-lost", text });
  };

  // ---- sending

  const queue = (type: number, streamId: number, payload: Uint8Array): void => {
    if (state === "closed") return;
    if (!outbox.control(type, streamId, payload)) fail(CLOSE.overload, "the peer does not read what it makes us send");
  };

  const sendPing = (): boolean => {
    if (ping !== null || peer === null || state === "closed") return false;
    pings += 1;
    ping = { nonce: pings, sentMs: null };
    const payload = new Uint8Array(PING_BYTES);
    writeU32(payload, 0, pings);
    queue(FRAME.ping, 0, payload);
    return true;
  };

  const grantSession = (): void => {
    const bytes = window.grant();
    if (bytes > 0) outbox.grant(0, bytes);
  };
  const consumed = (bytes: number): void => {
    if (window.consume(bytes) > 0 && state !== "closed") grantSession();
  };

  // ---- streams

  const windows: WindowPolicy = {
    budget,
    maxBytes: Math.max(options.streamWindowMaxBytes ?? 0, limits.streamWindowBytes),
    roundTrip,
    now,
    grew: (bytes) => window.grow(bytes),
  };

  const port: StreamPort = {
    role,
    carrier,
    get streamQueueBytes() {
      const share = Math.floor((FULL_QUEUES * send.streamQueueBytes) / Math.max(1, streams.size));
      return Math.min(send.streamQueueBytes, Math.max(2 * send.contendedFrameBytes, share));
    },
    wsMessageBytes: limits.wsMessageBytes,
    budget,
    now,
    ready(stream) {
      outbox.scheduler.addBody(stream);
      outbox.wake();
    },
    fresh(stream) {
      outbox.scheduler.addHead(stream);
      outbox.wake();
    },
    control: queue,
    grant(stream, bytes) {
      outbox.grant(stream.id, bytes);
      // Bodies come in: how long a grant takes to bear fruit decides how far windows grow.
      if (windows.maxBytes > limits.streamWindowBytes && roundTrip.due(now())) sendPing();
    },
    consumed,
    ended(stream) {
      streams.delete(stream.id);
      outbox.forget(stream);
    },
  };

  // ---- receiving: the session's own frames

  const adopt = (hello: PeerHello): void => {
    peer = hello;
    state = "open";
    carrier.peerMessageBytes = hello.limits.messageBytes;
    carrier.creditBytes = hello.limits.sessionWindowBytes;
  };

  const greet = (frame: Frame): void => {
    const hello = control.decodeJson(control.hello, frame.payload);
    if (hello === null) return breach("HELLO can't be read");
    const version = Math.min(control.VERSION.max, hello.versions.max);
    if (version < control.VERSION.min || version < hello.versions.min) return fail(CLOSE.version, "no common version");
    adopt({ ...hello, version });
    outbox.wake(); // what was announced meanwhile may go now
    if (peer !== null) events.hello?.(peer);
  };

  const framePort: SessionFramePort = {
    role,
    events,
    breach,
    ping(payload) {
      if (pongQueued) return; // one answer is enough for a peer that does not wait for it
      pongQueued = true;
      queue(FRAME.pong, 0, payload.slice());
    },
    pong(payload) {
      if (ping === null || ping.sentMs === null || readU32(payload, 0) !== ping.nonce) return;
      rttMs = Math.max(0, now() - ping.sentMs);
      ping = null;
      roundTrip.measured(rttMs, now());
      events.pong?.(rttMs);
    },
    peerDrains(reason) {
      state = "draining";
      events.draining?.(reason);
    },
    /** The relay lost its streams. Ours end, both sides' session credit starts anew, and ids may start again. */
    resync(nonce) {
      endStreams("the relay was restarted");
      outbox.resync();
      carrier.creditBytes = peer?.limits.sessionWindowBytes ?? 0;
      window = new SessionWindow(limits.sessionWindowBytes);
      highestSeenId = 0;
      queue(FRAME.resynced, 0, nonce.slice());
    },
    resynced(nonce) {
      if (readU32(nonce, 0) === resyncNonce) resyncNonce = null;
    },
  };

  const sessionCredit = (payload: Uint8Array): void => {
    if (payload.length !== 4) return breach("a WINDOW of a wrong length");
    const credit = carrier.creditBytes + readU32(payload, 0);
    if (credit > CREDIT_BYTES_MAX) return fail(CLOSE.flowControl, "credit beyond all bounds");
    carrier.creditBytes = credit;
    outbox.scheduler.creditCame();
    if (outbox.scheduler.size > 0) outbox.wake();
  };

  // ---- receiving: frames of streams

  const accept = (frame: Frame): void => {
    const { streamId, payload, flags } = frame;
    if (role !== "connector" || streamId % 2 === 0 || streamId <= highestSeenId) return breach("OPEN out of place");
    highestSeenId = streamId;
    const decoded = decodeOpen(payload);
    if (!decoded.ok && decoded.error.reason === "malformed") return breach(decoded.error.text);
    const refuse = (reason: "protocol" | "refused-before-start", text: string): void =>
      queue(FRAME.reset, streamId, encodeReset(reason, text));
    if (!decoded.ok) return refuse("protocol", decoded.error.text);
    const ends = (flags & FLAG.end) !== 0;
    const upgrade = (flags & FLAG.upgrade) !== 0;
    if (ends && upgrade) return refuse("protocol", "an upgrade that ends");
    if (state === "draining") return refuse("refused-before-start", "the connector is draining");
    if (streams.size >= limits.streams || events.open === undefined)
      return refuse("refused-before-start", "the connector is at its limit");
    const { windowBytes, target, method, path, headers, deadlineMs, urgency } = decoded.value;
    const stream = new StreamCore(port, {
      id: streamId,
      urgency,
      upgrade,
      receiveEnded: ends,
      window: new StreamWindow(ends ? 0 : limits.streamWindowBytes, windows),
      creditBytes: Math.min(windowBytes, CREDIT_BYTES_MAX),
    });
    streams.add(stream);
    const upgradeTo = upgrade ? "websocket" : null;
    const request = { target, method, path, headers, end: ends, upgrade: upgradeTo, deadlineMs, urgency } as const;
    stream.attach(events.open(stream, request));
  };

  const frameOfStream = (frame: Frame): void => {
    const cost = creditOf(frame);
    if (cost > 0 && !window.take(cost)) return fail(CLOSE.flowControl, "more bytes than session credit");
    if (frame.type === FRAME.open) return accept(frame);
    const stream = streams.get(frame.streamId);
    if (stream === undefined) {
      const { streamId } = frame;
      const odd = streamId % 2 === 1;
      const known = odd && (role === "relay" ? streamId < nextId : streamId <= highestSeenId);
      if (!known) return breach("a frame for a stream that was never opened");
      return consumed(cost); // it was on the way when the stream ended
    }
    stream.lastProgressMs = lastReceivedMs;
    const verdict = streamFrame(stream, frame);
    if (verdict === "flow-control") fail(CLOSE.flowControl, "more bytes than stream credit");
    else if (verdict === "malformed") breach("a head can't be read");
    else if (cost > 0 && state !== "closed") grantSession(); // what stays unread may have used up what the others need
  };

  const onFrame = (frame: Frame): void => {
    const { type } = frame;
    if (peer === null) return type === FRAME.hello ? greet(frame) : breach("a frame before HELLO");
    if (type === FRAME.hello) return breach("a second HELLO");
    const ofStreams = type === FRAME.window || (type >= FRAME.open && type <= FRAME.stop);
    if (!ofStreams) return sessionFrame(framePort, frame);
    if (resyncNonce !== null) return;
    if (type === FRAME.window && frame.streamId === 0) return sessionCredit(frame.payload);
    return frameOfStream(frame);
  };

  const onEachFrame = (frame: Frame): boolean => {
    onFrame(frame);
    return state !== "closed";
  };

  // ---- beginning

  if (restored === undefined) {
    const hello: Hello = {
      versions: control.VERSION,
      features: [],
      limits,
      ...identity,
      targets: [...identity.targets],
    };
    outbox.begin(FRAME.hello, control.encodeJson(hello));
  } else {
    adopt(restored);
    resyncNonce = now() >>> 0;
    outbox.begin(FRAME.resync, u32(resyncNonce));
  }

  return {
    get state() {
      return state;
    },
    get peer() {
      return peer;
    },
    get openStreams() {
      return streams.size;
    },
    get rttMs() {
      return rttMs;
    },
    get leastRttMs() {
      return roundTrip.ms;
    },
    get lastReceivedMs() {
      return lastReceivedMs;
    },
    streams: () => streams.all(),
    receive(message) {
      if (state === "closed") return;
      lastReceivedMs = now();
      if (message.length > limits.messageBytes) return fail(CLOSE.tooLong, "a message longer than announced");
      if (!readFrames(message, onEachFrame)) breach("a message that is not a sequence of whole frames");
    },
    takeMessage() {
      if (state === "closed") return null;
      const message = outbox.take(state === "greeting");
      pongQueued = false;
      if (ping !== null) ping.sentMs ??= now();
      return message;
    },
    open(request, streamEvents) {
      const refused = (error: OpenRefusal) => ({ ok: false, error }) as const;
      if (role !== "relay" || state !== "open" || peer === null) return refused({ reason: "not-open" });
      if (streams.size >= peer.limits.streams || nextId > STREAM_ID_MAX) return refused({ reason: "too-many-streams" });
      const windowBytes = firstWindowBytes(limits.streamWindowBytes, budget);
      const encoded = encodeOpen(request, windowBytes);
      if (!encoded.ok) return refused({ reason: "not-sendable", text: encoded.error.text });
      const stream = new StreamCore(port, {
        id: nextId,
        urgency: knownUrgency(request.urgency),
        upgrade: request.upgrade !== null,
        receiveEnded: false,
        window: new StreamWindow(windowBytes, windows),
        creditBytes: peer.limits.streamWindowBytes,
      });
      nextId += 2;
      stream.attach(streamEvents);
      streams.add(stream);
      stream.addOpen((request.end ? FLAG.end : 0) | (request.upgrade === null ? 0 : FLAG.upgrade), encoded.payload);
      return { ok: true, stream };
    },
    ping: sendPing,
    ...createAnnouncements({
      role,
      queue,
      drains() {
        if (state === "open") state = "draining";
      },
    }),
    lost(text) {
      if (state !== "closed") end(text);
    },
  };
}
