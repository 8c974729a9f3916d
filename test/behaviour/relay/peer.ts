import { createSession } from "../../../src/protocol/tunnel/session.ts";
import type { SendLimits, SessionLimits, Stream, StreamEvents } from "../../../src/protocol/tunnel/session.ts";
import type { Peer, PeerOptions } from "./host.ts";

const LIMITS: SessionLimits = {
  messageBytes: 1024 * 1024,
  streamWindowBytes: 256 * 1024,
  sessionWindowBytes: 4 * 1024 * 1024,
  streams: 200,
  wsMessageBytes: 8 * 1024 * 1024,
};
const SEND: SendLimits = {
  messageBytes: 64 * 1024,
  contendedFrameBytes: 16 * 1024,
  aloneFrameBytes: 64 * 1024,
  streamQueueBytes: 128 * 1024,
};

/** A socket to the relay, already open. */
export interface Transport {
  send(message: Uint8Array): void;
  close(code: number, reason: string): void;
  cut(): void;
  /** Called once, before anything else; messages that came earlier are handed over at once. */
  listen(events: {
    readonly message: (bytes: Uint8Array) => void;
    readonly closed: (code: number, reason: string) => void;
  }): void;
}

let instances = 0;

/** Resolves when the relay has our HELLO with the targets, that is when it has answered something that came after it. */
export async function createPeer(transport: Transport, options: PeerOptions = {}): Promise<Peer> {
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  let isOpen = true;
  const flush = (): void => {
    if (!isOpen) return;
    for (let message = session.takeMessage(); message !== null; message = session.takeMessage())
      transport.send(message);
  };
  const session = createSession({
    role: "connector",
    now: () => Date.now(),
    limits: { ...LIMITS, streamWindowBytes: options.streamWindowBytes ?? LIMITS.streamWindowBytes },
    send: SEND,
    identity: {
      instanceId: options.instanceId ?? `instance-${(instances += 1)}`,
      targets: [...(options.targets ?? ["web"])],
      sessionId: "",
      software: "behaviour suite",
    },
    events: {
      flushNeeded: () => void setImmediate(flush),
      open(stream, request) {
        peer.requests.push(request);
        return peer.onOpen(stream, request);
      },
      goAway: (notice) => void peer.goAways.push(notice),
      config: (config) => void peer.pushed.push(config),
      replaced: (reason) => void peer.replaced.push(reason),
      failed: ({ closeCode, reason }) => transport.close(closeCode, reason),
    },
  });
  const peer: Peer = {
    session,
    requests: [],
    goAways: [],
    pushed: [],
    replaced: [],
    closed: closed.promise,
    onOpen: options.onOpen ?? (() => ({})),
    sendRaw: (bytes) => transport.send(bytes),
    cut() {
      isOpen = false;
      session.lost("cut");
      transport.cut();
    },
  };
  transport.listen({
    message: (bytes) => session.receive(bytes),
    closed(code, reason) {
      isOpen = false;
      session.lost("closed");
      closed.resolve({ code, reason });
    },
  });
  flush();
  await until("the relay greets back", () => {
    if (session.state === "open") session.ping();
    return session.rttMs !== null;
  });
  return peer;
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Answers with the text at once and wants nothing more. */
export const answering =
  (text: string, status = 200): Peer["onOpen"] =>
  (stream) => {
    respond(stream, text, status);
    return {};
  };

export function respond(stream: Stream, text: string, status = 200): void {
  stream.respond({ status, headers: [["content-type", "text/plain"]] }, false);
  stream.write(bytesOf(text));
  stream.end();
  stream.stopReceiving();
}

/** Takes the whole body and hands it over when it has ended. */
export function collecting(stream: Stream, done: (body: Uint8Array) => void): StreamEvents {
  const parts: Uint8Array[] = [];
  return {
    data(bytes) {
      parts.push(bytes.slice());
      stream.consumed(bytes.length);
    },
    end: () => done(joined(parts)),
  };
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Waits until it is so; fails with the text after 25 s. */
export async function until(text: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const start = Date.now();
  while (!(await condition())) {
    if (Date.now() - start > 25_000) throw new Error(`it did not happen: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
