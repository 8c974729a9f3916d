import { createBroker } from "../../src/relay/core/broker.ts";
import type {
  AnswerAbout,
  AnswerEvents,
  Broker,
  BrokerLimits,
  BrokerPorts,
  BrokerRequest,
  Call,
  CallRecord,
  Credential,
  Link,
  RestoredLink,
} from "../../src/relay/core/types.ts";
import type { LaneFailure } from "../../src/relay/core/failures.ts";
import { OBJECT_LIMITS, RECEIVE_BUDGET_BYTES } from "../../src/relay/limits.ts";
import { connectorGrant, tenantSettings, type ConnectorGrant, type TenantSettings } from "../../src/protocol/lane.ts";
import { createSession } from "../../src/protocol/tunnel/session.ts";
import type {
  ByteBudget,
  GoAway,
  HeaderList,
  OpenRequest,
  PushedConfig,
  ResponseHead,
  SendLimits,
  Session,
  SessionLimits,
  Stream,
  StreamEvents,
} from "../../src/protocol/tunnel/session.ts";
import { createLogger } from "../../src/shared/log.ts";

/**
 * A lane in memory: the real broker and real sessions of connectors, joined by sockets that are queues. Nothing happens by itself: `settle`
 * carries messages and deferred work until all is quiet, `advance` moves the clock and sweeps.
 */
export interface MemoryLane {
  readonly broker: Broker;
  readonly grants: Map<string, ConnectorGrant>;
  readonly presence: string[];
  readonly logs: string[];
  readonly records: CallRecord[];
  /** What `renew` answers; by default every token is good for a minute more. */
  renew: BrokerPorts["renew"];
  settings(change: Record<string, unknown>): TenantSettings;
  grant(change?: Partial<ConnectorGrant>): ConnectorGrant;
  /** A connector that greeted. */
  connect(options?: ConnectOptions): MemoryConnector;
  request(change?: Partial<BrokerRequest>): MemoryVisitor;
  settle(): void;
  advance(ms: number): void;
  readonly nowMs: number;
  /** How far the wall clock is ahead of the one that never jumps. Default 0; set it to let it jump. */
  wallAheadMs: number;
  /** The host slept: a new broker takes the sockets over, as a Durable Object does. */
  restart(): void;
}

export interface ConnectOptions {
  readonly grant?: ConnectorGrant;
  readonly instanceId?: string;
  readonly targets?: readonly string[];
  readonly credential?: Credential;
  readonly limits?: Partial<SessionLimits>;
  readonly onOpen?: MemoryConnector["onOpen"];
  /** False: the socket is there, but HELLO never comes. */
  readonly greets?: boolean;
}

export interface MemoryConnector {
  readonly session: Session;
  readonly grant: ConnectorGrant;
  readonly requests: OpenRequest[];
  readonly goAways: GoAway[];
  readonly pushed: PushedConfig[];
  readonly replacedBy: string[];
  readonly renewedForMs: number[];
  /** How the lane closed it; null while it is open. */
  closed: { readonly code: number; readonly reason: string } | null;
  remembered: RestoredLink | null;
  onOpen: (stream: Stream, request: OpenRequest) => StreamEvents;
  /** Nothing of the lane's is taken until it is false again. */
  stuck: boolean;
  /** The network goes away: the lane is told, as by its socket. */
  cut(): void;
  /** Past the session, at once. */
  sendRaw(message: Uint8Array | string): void;
}

export interface MemoryVisitor {
  readonly call: Call;
  readonly interims: ResponseHead[];
  head: ResponseHead | null;
  about: AnswerAbout | null;
  body: Uint8Array[];
  readonly text: string;
  trailers: HeaderList | null;
  failure: LaneFailure | null;
  broken: LaneFailure | null;
  messages: string[];
  socketClosed: { readonly code: number; readonly reason: string } | null;
  writableCalls: number;
  /** False: what comes is kept and not consumed. */
  reads: boolean;
}

const CONNECTOR_LIMITS: SessionLimits = {
  messageBytes: 1024 * 1024,
  streamWindowBytes: 256 * 1024,
  sessionWindowBytes: 4 * 1024 * 1024,
  streams: 2_000,
  wsMessageBytes: 1024 * 1024,
};
const SEND: SendLimits = {
  messageBytes: 64 * 1024,
  contendedFrameBytes: 16 * 1024,
  aloneFrameBytes: 64 * 1024,
  streamQueueBytes: 128 * 1024,
};

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Answers with the text at once. */
export const answering =
  (text: string, status = 200): MemoryConnector["onOpen"] =>
  (stream) => {
    stream.respond({ status, headers: [["content-type", "text/plain"]] }, false);
    stream.write(bytesOf(text));
    stream.end();
    return {};
  };

export function createMemoryLane(
  options: { limits?: Partial<BrokerLimits>; budgetBytes?: number; random?: () => number } = {},
): MemoryLane {
  const limits: BrokerLimits = { ...OBJECT_LIMITS, ...options.limits };
  const grants = new Map<string, ConnectorGrant>();
  const deferred: (() => void)[] = [];
  const wires: Wire[] = [];
  const presence: string[] = [];
  const logs: string[] = [];
  const records: CallRecord[] = [];
  let settings = tenantSettings.parse({ tenantId: "ten_1", revision: 0 });
  let nowMs = 1_000_000;
  let made = 0;

  const makeBroker = (): Broker => {
    const budget: ByteBudget = { totalBytes: options.budgetBytes ?? RECEIVE_BUDGET_BYTES, committedBytes: 0 };
    return createBroker({
      lane: "a",
      now: () => nowMs,
      wallNow: () => nowMs + lane.wallAheadMs,
      random: options.random ?? Math.random,
      defer: (run) => void deferred.push(run),
      software: "memory relay",
      log: createLogger("lane", (line) => logs.push(line), { now: () => nowMs }),
      grants,
      settings: () => settings,
      online: ({ connectorId, instanceId }) => void presence.push(`online ${connectorId} ${instanceId}`),
      offline: ({ connectorId, instanceId }) => void presence.push(`offline ${connectorId} ${instanceId}`),
      wake: () => undefined,
      renew: (link, token) => lane.renew(link, token),
      ended: (record) => void records.push(record),
      budget,
      limits,
    });
  };
  let broker = makeBroker();

  const settle = (): void => {
    for (let busy = true; busy;) {
      busy = false;
      for (const run of deferred.splice(0)) {
        busy = true;
        run();
      }
      for (const wire of wires) if (wire.carry()) busy = true;
    }
  };

  const lane: MemoryLane = {
    get broker() {
      return broker;
    },
    wallAheadMs: 0,
    grants,
    presence,
    logs,
    records,
    get nowMs() {
      return nowMs;
    },
    renew: async () => ({ ok: true, expiresAtMs: nowMs + 60_000 }),
    settings(change) {
      settings = tenantSettings.parse({ ...settings, revision: settings.revision + 1, ...change });
      broker.settingsChanged(settings);
      settle();
      return settings;
    },
    grant(change = {}) {
      const connectorId = change.connectorId ?? `con_${(made += 1)}`;
      const grant = connectorGrant.parse({
        tenantId: "ten_1",
        tenant: "acme",
        connectorId,
        name: `plant-${connectorId}`,
        revision: 1,
        disabled: false,
        keys: [{ kty: "OKP", crv: "Ed25519", x: "A".repeat(43), kid: "key_1" }],
        targets: null,
        ...change,
      });
      grants.set(connectorId, grant);
      broker.grantChanged(grant);
      settle();
      return grant;
    },
    connect(connect = {}) {
      const grant = connect.grant ?? lane.grant();
      const sessionId = `ses_${(made += 1)}`;
      const credential = connect.credential ?? { kind: "key", id: "key_1", expiresAtMs: null };
      const wire = createWire(grant, connect, () => nowMs, `i-${sessionId}`);
      wires.push(wire);
      wire.attach(broker.attach(wire.socket, { sessionId, connectorId: grant.connectorId, credential }));
      settle();
      return wire.connector;
    },
    request(change = {}) {
      const visitor: MemoryVisitor = {
        get call() {
          if (call === null) throw new Error("the call is not there yet");
          return call;
        },
        get text() {
          return new TextDecoder().decode(Buffer.concat(visitor.body));
        },
        interims: [],
        head: null,
        about: null,
        body: [],
        trailers: null,
        failure: null,
        broken: null,
        messages: [],
        socketClosed: null,
        writableCalls: 0,
        reads: true,
      };
      const answer: AnswerEvents = {
        interim: (head) => void visitor.interims.push(head),
        head(head, about) {
          visitor.head = head;
          visitor.about = about;
        },
        data(bytes) {
          visitor.body.push(bytes.slice());
          if (visitor.reads) call?.consumed(bytes.length);
        },
        end: (trailers) => void (visitor.trailers = trailers),
        message(kind, data, creditBytes) {
          visitor.messages.push(kind === "text" ? new TextDecoder().decode(data) : `${data.length} bytes`);
          if (visitor.reads) call?.consumed(creditBytes);
        },
        messageClose: (code, reason) => void (visitor.socketClosed = { code, reason }),
        writable: () => void (visitor.writableCalls += 1),
        failed(failure) {
          if (visitor.failure !== null || visitor.head !== null) throw new Error("a second outcome");
          visitor.failure = failure;
        },
        broken(failure) {
          if (visitor.head === null || visitor.broken !== null) throw new Error("broken out of place");
          visitor.broken = failure;
        },
      };
      let call: Call | null = null;
      call = broker.request(
        {
          requestId: "req_1",
          target: "web",
          method: "GET",
          path: "/",
          headers: [["host", "acme.example"]],
          body: "none",
          bodyBytes: null,
          urgency: 3,
          timeouts: { firstByteMs: null, idleMs: null, totalMs: null },
          clientAddress: null,
          ...change,
        },
        answer,
      );
      return visitor;
    },
    settle,
    advance(ms) {
      settle();
      nowMs += ms;
      broker.sweep();
      settle();
    },
    restart() {
      settle();
      broker = makeBroker();
      for (const wire of wires) {
        const { remembered, closed } = wire.connector;
        if (closed !== null || remembered === null || remembered.state === "closed") continue;
        wire.attach(broker.attach(wire.socket, remembered, remembered));
      }
      settle();
    },
  };
  return lane;
}

interface Wire {
  readonly connector: MemoryConnector;
  readonly socket: Parameters<Broker["attach"]>[0];
  attach(link: Link): void;
  /** Carries what waits in both directions; false when there was nothing. */
  carry(): boolean;
}

function createWire(grant: ConnectorGrant, options: ConnectOptions, now: () => number, instanceId: string): Wire {
  const toConnector: Uint8Array[] = [];
  let link: Link | null = null;
  let buffered = 0;
  const session = createSession({
    role: "connector",
    now,
    limits: { ...CONNECTOR_LIMITS, ...options.limits },
    send: SEND,
    identity: {
      instanceId: options.instanceId ?? instanceId,
      targets: options.targets ?? ["web"],
      sessionId: "",
      software: "memory connector",
    },
    events: {
      flushNeeded: () => undefined,
      open(stream, request) {
        connector.requests.push(request);
        return connector.onOpen(stream, request);
      },
      goAway: (notice) => void connector.goAways.push(notice),
      config: (config) => void connector.pushed.push(config),
      replaced: (reason) => void connector.replacedBy.push(reason),
      tokenAccepted: (lifetimeMs) => void connector.renewedForMs.push(lifetimeMs),
      failed: ({ reason }) => {
        throw new Error(`connector: ${reason}`);
      },
    },
  });
  const connector: MemoryConnector = {
    session,
    grant,
    requests: [],
    goAways: [],
    pushed: [],
    replacedBy: [],
    renewedForMs: [],
    closed: null,
    remembered: null,
    onOpen: options.onOpen ?? (() => ({})),
    stuck: false,
    sendRaw: (message) => link?.received(message),
    cut() {
      if (connector.closed !== null) return;
      connector.closed = { code: 1006, reason: "cut" };
      session.lost("cut");
      link?.gone("cut");
    },
  };
  return {
    connector,
    socket: {
      send(message) {
        if (connector.closed !== null) throw new Error("the socket is closed");
        toConnector.push(message.slice());
        buffered += message.length;
      },
      close(code, reason) {
        for (const message of toConnector.splice(0)) session.receive(message);
        connector.closed ??= { code, reason };
        session.lost("closed by the lane");
      },
      get bufferedBytes() {
        return buffered;
      },
      remember: (note) => void (connector.remembered = structuredClone(note)),
    },
    attach: (attached) => void (link = attached),
    carry() {
      if (connector.closed !== null || link === null) return false;
      let moved = false;
      if (!connector.stuck && toConnector.length > 0) {
        moved = true;
        for (const message of toConnector.splice(0)) session.receive(message);
        buffered = 0;
        link.drained();
      }
      if (options.greets === false) return moved;
      for (let message = session.takeMessage(); message !== null; message = session.takeMessage()) {
        moved = true;
        link.received(message);
      }
      return moved;
    },
  };
}
