import type { ConnectorGrant, TenantSettings } from "../../../src/protocol/lane.ts";
import type {
  GoAway,
  OpenRequest,
  PushedConfig,
  Session,
  Stream,
  StreamEvents,
} from "../../../src/protocol/tunnel/session.ts";

/**
 * A relay with one tenant, as the behaviour suite sees it: in memory, in a Durable Object, in a Node process. What stands here is all that
 * the three have in common; each adapter says how it is done there. Platform-free: the suite also runs inside workerd.
 */
export interface RelayHost {
  /** A new connector that the relay knows, with a key of its own. */
  grant(change?: GrantChange): Promise<Granted>;
  /** Its rights change; resolves when the relay acts on it. */
  change(granted: Granted, change: GrantChange): Promise<void>;
  remove(granted: Granted): Promise<void>;
  /** Replaces what earlier calls said. */
  settings(change: SettingsChange): Promise<void>;
  /** Dials in; resolves when the relay knows its targets. Rejects with `Refused`. */
  connect(granted: Granted, options?: PeerOptions): Promise<Peer>;
  request(visit: Visit): Promise<Answer>;
  /** Rejects with `Refused` when the answer is no 101. */
  socket(visit: Visit, protocols?: readonly string[]): Promise<VisitorSocket>;
  /** Begins a drain. */
  drain(graceMs: number): Promise<void>;
  stop(): Promise<void>;
}

export type GrantChange = Partial<Pick<ConnectorGrant, "disabled" | "targets" | "readOnly" | "expiresAtMs" | "config">>;
export type SettingsChange = Partial<
  Pick<TenantSettings, "disabled" | "waitForConnectorMs" | "keepAliveMs" | "reconnectMaxMs">
> & {
  readonly limits?: Partial<TenantSettings["limits"]>;
  readonly timeouts?: Partial<TenantSettings["timeouts"]>;
};

export interface Granted {
  /** Unique in the tenant. */
  readonly name: string;
}

export interface Visit {
  /** Default "web". */
  readonly target?: string;
  readonly method?: string;
  /** Path and query. */
  readonly path?: string;
  readonly headers?: readonly (readonly [string, string])[];
  /** Whole, or as it is made. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
}

/** The final answer that a visitor got; its body is still coming. */
export interface Answer {
  readonly status: number;
  header(name: string): string | null;
  setCookies(): readonly string[];
  /** The next bytes; null at the end. Rejects when it broke off. */
  read(): Promise<Uint8Array | null>;
  /** The visitor goes away. */
  cancel(): Promise<void>;
}

export interface VisitorSocket {
  /** Chosen by the target. */
  readonly protocol: string;
  /** What came so far: text as it is, binary as its length. */
  readonly got: readonly (string | number)[];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  send(message: string | Uint8Array): void;
  close(code: number, reason: string): void;
}

export class Refused extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string) {
    super(`refused: ${status} ${code}`);
    this.status = status;
    this.code = code;
  }
}

export interface PeerOptions {
  readonly instanceId?: string;
  /** Default "web". */
  readonly targets?: readonly string[];
  readonly onOpen?: Peer["onOpen"];
  /** What it lets one stream of the relay's hold here. */
  readonly streamWindowBytes?: number;
}

/** A connector in the test's hands: the real session over the host's transport, and a handler in place of targets. */
export interface Peer {
  readonly session: Session;
  readonly requests: OpenRequest[];
  readonly goAways: GoAway[];
  readonly pushed: PushedConfig[];
  readonly replaced: string[];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  onOpen: (stream: Stream, request: OpenRequest) => StreamEvents;
  /** Sends bytes past the session. */
  sendRaw(bytes: Uint8Array): void;
  /** The network goes away without a word. */
  cut(): void;
}
