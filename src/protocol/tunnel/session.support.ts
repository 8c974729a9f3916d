import { createSession } from "./session.ts";
import type {
  ByteBudget,
  OpenRequest,
  PeerHello,
  SendLimits,
  Session,
  SessionFailure,
  SessionLimits,
  Stream,
  StreamEvents,
} from "./session.ts";

/** Two sessions back to back, for tests: nothing is lost or delayed between them. */
export const LIMITS: SessionLimits = {
  messageBytes: 256 * 1024,
  streamWindowBytes: 64 * 1024,
  sessionWindowBytes: 256 * 1024,
  streams: 100,
  wsMessageBytes: 512 * 1024,
};

export const SEND: SendLimits = {
  messageBytes: 64 * 1024,
  contendedFrameBytes: 16 * 1024,
  aloneFrameBytes: 64 * 1024,
  streamQueueBytes: 64 * 1024,
};

export const GET: OpenRequest = {
  target: "web",
  method: "GET",
  path: "/",
  headers: [],
  end: true,
  upgrade: null,
  deadlineMs: 0,
  urgency: 3,
};

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

export interface Pair {
  relay: Session;
  connector: Session;
  time: number;
  onOpen: (stream: Stream, request: OpenRequest) => StreamEvents;
  onPong: (rttMs: number) => void;
  readonly requests: OpenRequest[];
  relayFailure: SessionFailure | null;
  /** Carries messages until neither side has one. */
  exchange(): void;
  restoreRelay(peer: PeerHello): void;
  /** A whole session window must be sendable from the connector: nothing was lost on the way. */
  expectAllCreditBack(): void;
}

export function createPair(options: { limits?: SessionLimits; relayBudget?: ByteBudget } = {}): Pair {
  const { limits = LIMITS, relayBudget } = options;
  const budget = relayBudget ?? { totalBytes: 16 * limits.streamWindowBytes * 4, committedBytes: 0 };
  const makeRelay = (restored?: PeerHello): Session =>
    createSession({
      role: "relay",
      now: () => pair.time,
      limits,
      send: SEND,
      identity: { instanceId: "", targets: [], sessionId: "ses_1", software: "test relay" },
      budget,
      events: {
        flushNeeded: () => undefined,
        pong: (rttMs) => pair.onPong(rttMs),
        failed: (failure) => {
          pair.relayFailure = failure;
        },
      },
      ...(restored === undefined ? {} : { restored }),
    });
  const pair: Pair = {
    time: 1000,
    onOpen: () => ({}),
    onPong: () => undefined,
    requests: [],
    relayFailure: null,
    get relay() {
      return relay;
    },
    get connector() {
      return connector;
    },
    exchange() {
      for (;;) {
        const down = relay.takeMessage();
        if (down !== null) connector.receive(down);
        const up = connector.takeMessage();
        if (up !== null) relay.receive(up);
        if (down === null && up === null) return;
      }
    },
    restoreRelay(peer) {
      budget.committedBytes = 0; // the memory of the one before is gone
      relay = makeRelay(peer);
    },
    expectAllCreditBack() {
      let received = 0;
      pair.onOpen = (stream) => {
        stream.respond({ status: 200, headers: [] }, false);
        stream.write(new Uint8Array(limits.sessionWindowBytes));
        return {};
      };
      const result = relay.open(GET, {
        data: (bytes) => {
          received += bytes.length;
          if (result.ok) result.stream.consumed(bytes.length);
        },
      });
      pair.exchange();
      if (received !== limits.sessionWindowBytes) throw new Error(`only ${received} bytes came through`);
      if (result.ok) result.stream.reset("cancelled", "");
      pair.exchange();
      if (budget.committedBytes !== 0) throw new Error(`${budget.committedBytes} bytes are still charged`);
    },
  };
  let relay = makeRelay();
  const connector = createSession({
    role: "connector",
    now: () => pair.time,
    limits,
    send: SEND,
    identity: { instanceId: "i-1", targets: ["web"], sessionId: "", software: "test connector" },
    events: {
      flushNeeded: () => undefined,
      open: (stream, request) => {
        pair.requests.push(request);
        return pair.onOpen(stream, request);
      },
      failed: ({ reason }) => {
        throw new Error(`connector: ${reason}`);
      },
    },
  });
  pair.exchange();
  return pair;
}
