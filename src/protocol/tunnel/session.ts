import { CLOSE } from "./close-codes.ts";
import * as control from "./control.ts";
import type { Hello } from "./control.ts";
import { createMessageBuilder, FLAG, FRAME, readFrames, readU32, u32, writeU32, WS_KIND } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { decodeOpen, encodeOpen } from "./head.ts";
import {
  CONFIG_JSON_BYTES_MAX,
  CONTROL_FRAMES_MAX,
  CREDIT_BYTES_MAX,
  FRAME_HEADER_BYTES,
  REASON_CHARACTERS_MAX,
  STREAM_ID_MAX,
  TOKEN_BYTES_MAX,
} from "./limits.ts";
import { resetReason } from "./reasons.ts";
import type { Carrier } from "./send-queue.ts";
import { StreamCore } from "./stream.ts";
import type { FrameVerdict, StreamPort } from "./stream.ts";
import type {
  ByteBudget,
  OpenRefusal,
  OpenRequest,
  OpenResult,
  PeerHello,
  Session,
  SessionOptions,
  StreamEvents,
} from "./types.ts";
import { createSessionWindow, createStreamWindow, streamWindow } from "./window.ts";

export type * from "./types.ts";

/** A peer that never got further than HELLO: nothing of it is known yet, so nothing may be sent to it but our HELLO. */
const UNKNOWN_PEER_MESSAGE_BYTES = 64 * 1024;

/** A session over one socket. `docs/protocol.md` describes the wire, types.ts every call and event. */
export function createSession(options: SessionOptions): Session {
  const { role, now, limits, send, identity, events, restored } = options;
  const streamWindowMaxBytes = options.streamWindowMaxBytes ?? limits.streamWindowBytes;
  const budget: ByteBudget = options.budget ?? { totalBytes: limits.sessionWindowBytes, committedBytes: 0 };
  const builder = createMessageBuilder(options.allocate ?? ((bytes) => new Uint8Array(bytes)));
  const carrier: Carrier = { creditBytes: 0, peerMessageBytes: UNKNOWN_PEER_MESSAGE_BYTES };
  const streams = new Map<number, StreamCore>();
  const ready = new Set<StreamCore>(); // in the order of their turns
  const fresh = new Set<StreamCore>(); // with a head at the front of their queue: served before bodies
  const pumped: StreamCore[] = [];

  let state: Session["state"] = "greeting";
  let peer: PeerHello | null = null;
  let controls: { type: number; flags: number; streamId: number; payload: Uint8Array }[] = [];
  let flushAsked = false;
  let window = createSessionWindow(limits.sessionWindowBytes);
  let nextId = 1;
  let highestSeenId = 0;
  let lastReceivedMs = now();
  let ping: { nonce: number; sentMs: number } | null = null;
  let pings = 0;
  let pongQueued = false;
  let rttMs: number | null = null;
  let resyncNonce: number | null = null; // set: what comes for streams is from before our sleep, until RESYNCED

  // ---- sending

  const wake = (): void => {
    if (flushAsked || state === "closed") return;
    flushAsked = true;
    events.flushNeeded();
  };

  const queueControl = (type: number, flags: number, streamId: number, payload: Uint8Array): void => {
    if (state === "closed") return;
    if (controls.length >= CONTROL_FRAMES_MAX)
      return fail(CLOSE.overload, "the peer does not read what it makes us send");
    controls.push({ type, flags, streamId, payload });
    wake();
  };

  const queueJson = (type: number, value: object): void => queueControl(type, 0, 0, control.encodeJson(value));
  const forPeople = (text: string): string => text.slice(0, REASON_CHARACTERS_MAX);

  const grantSession = (): void => {
    const bytes = window.grant();
    if (bytes > 0) queueControl(FRAME.window, 0, 0, u32(bytes));
  };

  const port: StreamPort = {
    role,
    carrier,
    streamQueueBytes: send.streamQueueBytes,
    wsMessageBytes: limits.wsMessageBytes,
    now,
    ready(stream) {
      ready.add(stream);
      wake();
    },
    fresh(stream) {
      fresh.add(stream);
      wake();
    },
    control: queueControl,
    consumed(bytes) {
      if (window.consume(bytes) > 0) grantSession();
    },
    ended(stream) {
      streams.delete(stream.id);
      ready.delete(stream);
      fresh.delete(stream);
    },
  };

  /** One stream's turn. False when nothing could go. */
  const turn = (stream: StreamCore, quantumBytes: number): boolean => {
    const before = builder.bytes;
    ready.delete(stream);
    const left = stream.pump(builder, quantumBytes);
    if (left === "more" || left === "session-credit" || left === "message-full") ready.add(stream);
    const moved = builder.bytes > before;
    if (moved) pumped.push(stream);
    return moved;
  };

  const fill = (): void => {
    for (const { type, flags, streamId, payload } of controls) builder.add(type, flags, streamId, payload);
    controls = [];
    pongQueued = false;
    if (state === "greeting") return; // the peer's limits are not known yet
    const quantum = (): number => (ready.size + fresh.size > 1 ? send.contendedFrameBytes : send.aloneFrameBytes);
    for (const stream of fresh) {
      if (builder.bytes >= send.messageBytes) return;
      fresh.delete(stream);
      turn(stream, quantum());
    }
    let idle = 0;
    for (const stream of ready) {
      if (builder.bytes >= send.messageBytes || idle >= ready.size) return;
      idle = turn(stream, quantum()) ? 0 : idle + 1;
    }
  };

  // ---- ending

  const endStreams = (text: string): void => {
    for (const stream of streams.values()) stream.close({ kind: "reset", by: "session", reason: "session-lost", text });
  };

  const fail = (closeCode: number, reason: string): void => {
    if (state === "closed") return;
    state = "closed";
    controls = [];
    endStreams(reason);
    events.failed({ closeCode, reason });
  };

  const breach = (reason: string): void => fail(CLOSE.protocol, reason);

  // ---- receiving: the session's own frames

  const greet = (frame: Frame): void => {
    const hello = control.decodeJson(control.hello, frame.payload);
    if (hello === null) return breach("HELLO can't be read");
    const version = Math.min(control.VERSION.max, hello.versions.max);
    if (version < control.VERSION.min || version < hello.versions.min) return fail(CLOSE.version, "no common version");
    adopt({ ...hello, version });
    if (peer !== null) events.hello?.(peer);
  };

  const adopt = (hello: PeerHello): void => {
    peer = hello;
    state = "open";
    carrier.peerMessageBytes = hello.limits.messageBytes;
    carrier.creditBytes = hello.limits.sessionWindowBytes;
  };

  /** The relay lost its streams. Ours end, both sides' session credit starts anew, and ids may start again. */
  const resync = (nonce: Uint8Array): void => {
    endStreams("the relay was restarted");
    controls = controls.filter(({ type }) => type < FRAME.open && type !== FRAME.window && type !== FRAME.resynced);
    carrier.creditBytes = peer?.limits.sessionWindowBytes ?? 0;
    window = createSessionWindow(limits.sessionWindowBytes);
    highestSeenId = 0;
    queueControl(FRAME.resynced, 0, 0, nonce.slice());
  };

  const sessionFrame = (frame: Frame): void => {
    const { payload } = frame;
    switch (frame.type) {
      case FRAME.ping:
        if (payload.length < 8) return breach("a short PING");
        if (pongQueued) return; // one answer is enough for a peer that does not wait for it
        pongQueued = true;
        return queueControl(FRAME.pong, 0, 0, payload.slice(0, 8));
      case FRAME.pong:
        if (payload.length < 8) return breach("a short PONG");
        if (ping === null || readU32(payload, 0) !== ping.nonce) return;
        rttMs = Math.max(0, now() - ping.sentMs);
        ping = null;
        return events.pong?.(rttMs);
      case FRAME.targets: {
        const notice = control.decodeJson(control.targetsNotice, payload);
        if (role !== "relay" || notice === null) return breach("TARGETS out of place");
        return events.targets?.(notice.targets);
      }
      case FRAME.goAway: {
        const notice = control.decodeJson(control.goAwayNotice, payload);
        if (role !== "connector" || notice === null) return breach("GOAWAY out of place");
        return events.goAway?.(notice);
      }
      case FRAME.drain: {
        const notice = control.decodeJson(control.reasonNotice, payload);
        if (role !== "relay" || notice === null) return breach("DRAIN out of place");
        state = "draining";
        return events.draining?.(notice.reason);
      }
      case FRAME.replaced: {
        const notice = control.decodeJson(control.reasonNotice, payload);
        if (role !== "connector" || notice === null) return breach("REPLACED out of place");
        return events.replaced?.(notice.reason);
      }
      case FRAME.report: {
        const report = control.decodeJson(control.reportNotice, payload);
        if (role !== "relay" || report === null) return breach("REPORT out of place");
        return events.report?.(report);
      }
      case FRAME.token: {
        const notice = control.decodeJson(control.tokenNotice, payload);
        if (role !== "relay" || notice === null) return breach("TOKEN out of place");
        return events.token?.(notice.token);
      }
      case FRAME.tokenOk: {
        const notice = control.decodeJson(control.tokenOkNotice, payload);
        if (role !== "connector" || notice === null) return breach("TOKEN_OK out of place");
        return events.tokenAccepted?.(notice.lifetimeMs);
      }
      case FRAME.config: {
        const config = control.decodeJson(control.configNotice, payload, CONFIG_JSON_BYTES_MAX);
        if (role !== "connector" || config === null) return breach("CONFIG out of place");
        return events.config?.(config);
      }
      case FRAME.configAck: {
        const ack = control.decodeJson(control.configAckNotice, payload);
        if (role !== "relay" || ack === null) return breach("CONFIG_ACK out of place");
        return events.configAcknowledged?.(ack);
      }
      case FRAME.resync:
        if (role !== "connector" || payload.length !== 4) return breach("RESYNC out of place");
        return resync(payload);
      case FRAME.resynced:
        if (role !== "relay" || payload.length !== 4) return breach("RESYNCED out of place");
        if (readU32(payload, 0) === resyncNonce) resyncNonce = null;
        return;
      default:
        if ((frame.flags & FLAG.ignorable) === 0) breach(`unknown frame type ${frame.type}`);
    }
  };

  // ---- receiving: frames of streams

  /** Body bytes by which the frame is charged. A close is outside of credit: one a stream, and it must not wait. */
  const creditOf = ({ type, payload }: Frame): number => {
    if (type === FRAME.data) return payload.length;
    return type === FRAME.wsMessage && payload[0] !== WS_KIND.close ? FRAME_HEADER_BYTES + payload.length : 0;
  };

  /** For a stream that is over here: its bytes were on the way. They count for the session only. */
  const lateFrame = (frame: Frame): void => {
    port.consumed(creditOf(frame));
  };

  const accept = (frame: Frame): void => {
    const { streamId, payload, flags } = frame;
    if (role !== "connector" || streamId % 2 === 0 || streamId <= highestSeenId) return breach("OPEN out of place");
    highestSeenId = streamId;
    const decoded = decodeOpen(payload);
    if (!decoded.ok && decoded.error.reason === "malformed") return breach(decoded.error.text);
    const end = (flags & FLAG.end) !== 0;
    const upgrade = (flags & FLAG.upgrade) !== 0;
    const stream = new StreamCore(port, {
      id: streamId,
      upgrade,
      receiveEnded: end,
      window: createStreamWindow(
        end ? 0 : limits.streamWindowBytes,
        () => streamWindow(streamWindowMaxBytes, budget),
        budget,
      ),
      creditBytes: decoded.ok ? Math.min(decoded.value.windowBytes, CREDIT_BYTES_MAX) : 0,
    });
    if (!decoded.ok) return stream.reset("protocol", decoded.error.text);
    if (end && upgrade) return stream.reset("protocol", "an upgrade that ends");
    if (state === "draining" || streams.size >= limits.streams || events.open === undefined) {
      return stream.reset(
        "refused-before-start",
        state === "draining" ? "the connector is draining" : "the connector is at its limit",
      );
    }
    streams.set(streamId, stream);
    const { target, method, path, headers, deadlineMs, urgency } = decoded.value;
    stream.attach(
      events.open(stream, {
        target,
        method,
        path,
        headers,
        deadlineMs,
        urgency,
        end,
        upgrade: upgrade ? "websocket" : null,
      }),
    );
  };

  const streamFrame = (frame: Frame): void => {
    const cost = creditOf(frame);
    if (cost > 0 && !window.take(cost)) return fail(CLOSE.flowControl, "more bytes than session credit");
    if (frame.type === FRAME.open) return accept(frame);
    const stream = streams.get(frame.streamId);
    if (stream === undefined) {
      const known = role === "relay" ? frame.streamId < nextId : frame.streamId <= highestSeenId;
      if (known || frame.type === FRAME.reset) return lateFrame(frame);
      return breach("a frame for a stream that was never opened");
    }
    stream.lastProgressMs = lastReceivedMs;
    const verdict = onStream(stream, frame);
    if (cost > 0) grantSession(); // what stays unread may have used up what the others need
    if (verdict === "flow-control") fail(CLOSE.flowControl, "more bytes than stream credit");
    else if (verdict === "malformed") breach("a head can't be read");
  };

  const onStream = (stream: StreamCore, frame: Frame): FrameVerdict => {
    switch (frame.type) {
      case FRAME.headers:
        return stream.headers(frame);
      case FRAME.data:
        return stream.data(frame);
      case FRAME.trailers:
        return stream.trailers(frame);
      case FRAME.wsMessage:
        return stream.wsMessage(frame);
      case FRAME.window:
        return frame.payload.length === 4 ? stream.credit(readU32(frame.payload, 0)) : "malformed";
      case FRAME.stop:
        stream.stopped();
        return "ok";
      case FRAME.reset:
        if (frame.payload.length < 1) return "malformed";
        stream.close({
          kind: "reset",
          by: "peer",
          reason: resetReason(frame.payload[0] ?? 0),
          text: control.utf8Text(frame.payload.subarray(1)),
        });
        return "ok";
      default:
        return "ok";
    }
  };

  const sessionCredit = (payload: Uint8Array): void => {
    if (payload.length !== 4) return breach("a WINDOW of a wrong length");
    const credit = carrier.creditBytes + readU32(payload, 0);
    if (credit > CREDIT_BYTES_MAX) return fail(CLOSE.flowControl, "credit beyond all bounds");
    carrier.creditBytes = credit;
    if (ready.size > 0) wake();
  };

  const onFrame = (frame: Frame): void => {
    const { type } = frame;
    if (peer === null) return type === FRAME.hello ? greet(frame) : breach("a frame before HELLO");
    if (type === FRAME.hello) return breach("a second HELLO");
    const ofStreams = type === FRAME.window || (type >= FRAME.open && type <= FRAME.stop);
    if (!ofStreams) return sessionFrame(frame);
    if (resyncNonce !== null) return;
    if (type === FRAME.window && frame.streamId === 0) return sessionCredit(frame.payload);
    return streamFrame(frame);
  };

  // ---- opening

  const refused = (error: OpenRefusal): OpenResult => ({ ok: false, error });

  const open = (request: OpenRequest, streamEvents: StreamEvents): OpenResult => {
    if (role !== "relay" || state !== "open" || peer === null) return refused({ reason: "not-open" });
    if (streams.size >= peer.limits.streams || nextId > STREAM_ID_MAX) return refused({ reason: "too-many-streams" });
    const windowBytes = streamWindow(limits.streamWindowBytes, budget);
    const encoded = encodeOpen(request, windowBytes);
    if (!encoded.ok) return refused({ reason: "not-sendable", text: encoded.error.text });
    const stream = new StreamCore(port, {
      id: nextId,
      upgrade: request.upgrade !== null,
      receiveEnded: false,
      window: createStreamWindow(windowBytes, () => streamWindow(streamWindowMaxBytes, budget), budget),
      creditBytes: peer.limits.streamWindowBytes,
    });
    nextId += 2;
    stream.attach(streamEvents);
    streams.set(stream.id, stream);
    stream.addOpen((request.end ? FLAG.end : 0) | (request.upgrade === null ? 0 : FLAG.upgrade), encoded.payload);
    return { ok: true, stream };
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
    controls.push({ type: FRAME.hello, flags: 0, streamId: 0, payload: control.encodeJson(hello) });
  } else {
    adopt(restored);
    resyncNonce = now() >>> 0;
    controls.push({ type: FRAME.resync, flags: 0, streamId: 0, payload: u32(resyncNonce) });
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
    get lastReceivedMs() {
      return lastReceivedMs;
    },
    streams: () => streams.values(),
    receive(message) {
      if (state === "closed") return;
      lastReceivedMs = now();
      if (message.length > limits.messageBytes) return fail(CLOSE.tooLong, "a message longer than announced");
      const whole = readFrames(message, (frame) => {
        onFrame(frame);
        return state !== "closed";
      });
      if (!whole) breach("a message that is not a sequence of whole frames");
    },
    takeMessage() {
      if (state === "closed") return null;
      fill();
      const message = builder.build();
      for (const stream of pumped.splice(0)) stream.afterPump();
      if (message === null) flushAsked = false;
      return message;
    },
    open,
    announceTargets(targets) {
      if (role === "connector") queueJson(FRAME.targets, { targets });
    },
    report({ load, unhealthy }) {
      if (role === "connector") queueJson(FRAME.report, { load: Math.min(Math.max(load, 0), 1) || 0, unhealthy });
    },
    renewToken(token) {
      if (role !== "connector" || token.length > TOKEN_BYTES_MAX || !control.TOKEN_TEXT.test(token)) return false;
      queueJson(FRAME.token, { token });
      return true;
    },
    tokenAccepted(lifetimeMs) {
      if (role === "relay") queueJson(FRAME.tokenOk, { lifetimeMs: Math.max(0, Math.floor(lifetimeMs)) });
    },
    pushConfig(config) {
      const payload = control.encodeJson(config);
      if (role !== "relay" || payload.length > CONFIG_JSON_BYTES_MAX) return false;
      queueControl(FRAME.config, 0, 0, payload);
      return true;
    },
    acknowledgeConfig({ revision, ok, reason }) {
      if (role === "connector") queueJson(FRAME.configAck, { revision, ok, reason: forPeople(reason) });
    },
    ping() {
      if (ping !== null || peer === null || state === "closed") return false;
      pings += 1;
      ping = { nonce: pings, sentMs: now() };
      const payload = new Uint8Array(8);
      writeU32(payload, 0, pings);
      queueControl(FRAME.ping, 0, 0, payload);
      return true;
    },
    goAway(notice) {
      if (state === "open") state = "draining";
      queueJson(FRAME.goAway, { ...notice, reason: forPeople(notice.reason) });
    },
    drain(reason) {
      if (state === "open") state = "draining";
      queueJson(FRAME.drain, { reason: forPeople(reason) });
    },
    replaced(reason) {
      queueJson(FRAME.replaced, { reason: forPeople(reason) });
    },
    lost(text) {
      if (state === "closed") return;
      state = "closed";
      controls = [];
      endStreams(text);
    },
  };
}
