import { CATCH_ALL, parseTarget } from "../../policy/names.ts";
import { CLOSE } from "../../protocol/tunnel/close-codes.ts";
import { createSession } from "../../protocol/tunnel/session.ts";
import type { ConfigAck, GoAway, PeerHello, PushedConfig, Session } from "../../protocol/tunnel/session.ts";
import { DEAD_AFTER_PING_MS, HELLO_TIMEOUT_MS, PING_AFTER_SILENCE_MS, SUSPECT_AFTER_PING_MS } from "../limits.ts";
import type { Candidate } from "./pick.ts";
import { endingOf, nextEndingMs } from "./rights.ts";
import type { Admitted, BrokerPorts, Credential, Link, RestoredLink, Socket } from "./types.ts";

/** One connector's socket and the session over it. */
export interface LiveLink extends Link, Candidate {
  readonly sinceMs: number;
  readonly session: Session;
  readonly targets: ReadonlySet<string>;
  /** Announced, but their health check fails. */
  readonly unhealthy: ReadonlySet<string>;
  readonly draining: boolean;
  /** Greeted, and neither it nor we asked it to go. */
  readonly serving: boolean;
  /** False: it was asked for an echo and has not answered in a time that suffices anywhere. It is none to give work to while others answer. */
  readonly answering: boolean;
  /** What became of the settings that were pushed last. */
  readonly configured: ConfigAck | null;
}

export interface LinksPorts extends BrokerPorts {
  /** A connector came, serves other targets, or feels better: whoever waits may look again. */
  readonly changed: () => void;
  /** Messages went out, so there is room for others. */
  readonly flushed: () => void;
}

export interface Links {
  readonly size: number;
  /** Sockets that have not said HELLO yet: `sweep` ends them when they never do. */
  readonly greeting: number;
  /** Of the next credential or connector that runs out. */
  readonly nextDueMs: number | null;
  /** Waiting in sockets, as far as the platform tells. */
  readonly bufferedBytes: number;
  all(): IterableIterator<LiveLink>;
  attach(socket: Socket, admitted: Admitted, restored?: RestoredLink): Link;
  close(link: LiveLink, code: number, reason: string): void;
  /** Rights or settings changed: ends who may not stay, and tells the others of theirs. `connectorId`: null = of all. */
  reviewed(connectorId: string | null): void;
  /** GOAWAY to all that greeted and take requests; answers them. They get no new requests from here on. */
  goAway(notice: GoAway): LiveLink[];
  /** Ends whose time is over, asks silent connectors that have work, and drops those that stay silent. */
  sweep(): void;
}

export function createLinks(ports: LinksPorts): Links {
  const links = new Set<LinkCore>();
  const dirty = new Set<LinkCore>();
  const highWaterBytes = ports.limits.carrierHighWaterBytes ?? Number.POSITIVE_INFINITY;

  const flush = (): void => {
    for (const link of dirty) {
      dirty.delete(link);
      link.send(highWaterBytes);
    }
    ports.flushed();
  };

  const hub: Hub = {
    ...ports,
    wantsToSend(link) {
      if (dirty.size === 0) ports.defer(flush);
      dirty.add(link);
    },
    gone(link) {
      links.delete(link);
      dirty.delete(link);
    },
    greeted(link) {
      for (const other of links) {
        if (other === link || other.connectorId !== link.connectorId || other.instanceId !== link.instanceId) continue;
        if (other.draining) {
          if (other.inFlight === 0) other.close(CLOSE.goneAway, "drained");
          continue; // else it finishes what it has
        }
        const reason = "another socket of the same instance took over";
        other.session.replaced(reason);
        other.close(CLOSE.replaced, reason);
      }
      ports.changed();
    },
  };

  return {
    get size() {
      return links.size;
    },
    get greeting() {
      let count = 0;
      for (const link of links) if (link.instanceId === "") count += 1;
      return count;
    },
    get nextDueMs() {
      let next: number | null = null;
      for (const link of links) {
        const due = link.nextEndingMs();
        if (due !== null && (next === null || due < next)) next = due;
      }
      return next;
    },
    get bufferedBytes() {
      let bytes = 0;
      for (const link of links) bytes += link.bufferedBytes;
      return bytes;
    },
    all: () => links.values(),
    attach(socket, admitted, restored) {
      const link = new LinkCore(hub, socket, admitted, restored ?? null);
      if (restored !== undefined && restored.peer === null) {
        // Nothing is known of a connector that had not said HELLO when we fell asleep.
        socket.close(1012, "the lane was restarted");
        return link;
      }
      links.add(link);
      link.begin();
      return link;
    },
    close(link, code, reason) {
      for (const each of links) if (each === link) each.close(code, reason);
    },
    reviewed(connectorId) {
      for (const link of links) if (connectorId === null || link.connectorId === connectorId) link.review();
      ports.changed();
    },
    goAway(notice) {
      const told = [...links].filter((link) => link.serving);
      for (const link of told) link.goAway(notice);
      return told;
    },
    sweep() {
      const nowMs = ports.now();
      for (const link of links) link.sweep(nowMs);
    },
  };
}

/** What a link needs of all of them. */
interface Hub extends LinksPorts {
  wantsToSend(link: LinkCore): void;
  gone(link: LinkCore): void;
  greeted(link: LinkCore): void;
}

class LinkCore implements LiveLink {
  readonly sessionId: string;
  readonly connectorId: string;
  readonly sinceMs: number;
  readonly session: Session;
  targets: ReadonlySet<string>;
  unhealthy: ReadonlySet<string>;
  load = 0;
  configured: ConfigAck | null = null;
  readonly #hub: Hub;
  readonly #socket: Socket;
  #note: RestoredLink;
  #isOver = false;
  readonly #greetingSinceMs: number;
  /** When a silent connector was asked. Only what it does not say after that counts: a clock that jumps proves nothing. */
  #askedMs: number | null = null;
  /** What was pushed last, to push changes only. */
  #pushed = NOTHING_PUSHED;
  /** Pushes whose answer has not come. After a sleep there may be one. */
  #answersDue: number;

  constructor(hub: Hub, socket: Socket, admitted: Admitted, restored: RestoredLink | null) {
    this.#hub = hub;
    this.#socket = socket;
    this.#note = restored ?? {
      v: 2,
      state: "live",
      ...admitted,
      sinceMs: hub.wallNow(),
      peer: null,
      unhealthy: [],
    };
    this.#greetingSinceMs = hub.now();
    this.#answersDue = restored === null ? 0 : 1;
    this.sessionId = admitted.sessionId;
    this.connectorId = admitted.connectorId;
    this.sinceMs = this.#note.sinceMs;
    this.targets = servable(restored?.peer?.targets ?? []);
    this.unhealthy = servable(restored?.unhealthy ?? []);
    this.session = createSession({
      role: "relay",
      now: hub.now,
      limits: hub.limits.session,
      send: hub.limits.send,
      identity: { instanceId: "", targets: [], sessionId: this.sessionId, software: hub.software },
      budget: hub.budget,
      streamWindowMaxBytes: hub.limits.streamWindowMaxBytes,
      ...(hub.allocate === undefined ? {} : { allocate: hub.allocate }),
      ...(restored === null || restored.peer === null ? {} : { restored: restored.peer }),
      events: {
        flushNeeded: () => hub.wantsToSend(this),
        hello: (peer) => this.#greet(peer),
        targets: (targets) => {
          this.targets = servable(targets);
          const { peer } = this.#note;
          if (peer !== null) this.#remember({ peer: { ...peer, targets: [...this.targets] } });
          hub.changed();
        },
        report: ({ load, unhealthy }) => {
          this.load = load;
          const names = servable(unhealthy);
          if (isSame(names, this.unhealthy)) return;
          this.unhealthy = names;
          this.#remember({ unhealthy: [...names] });
          hub.changed();
        },
        token: (token) => void this.#renew(token),
        configAcknowledged: (ack) => {
          this.configured = ack;
          // One line for each push: a connector that repeats itself must not fill the log.
          if (this.#answersDue === 0) return;
          this.#answersDue -= 1;
          if (!ack.ok) hub.log.warn("a connector refused its settings", { ...this.#names(), reason: ack.reason });
        },
        draining: () => this.#remember({ state: "draining" }),
        failed: ({ closeCode, reason }) => {
          hub.log.warn("a connector broke the protocol", { ...this.#names(), closeCode, reason });
          hub.defer(() => this.close(closeCode, reason));
        },
      },
    });
  }

  get credential(): Credential {
    return this.#note.credential;
  }
  get instanceId(): string {
    return this.#note.peer?.instanceId ?? "";
  }
  get draining(): boolean {
    return this.#note.state !== "live";
  }
  get serving(): boolean {
    return this.#note.state === "live" && this.#note.peer !== null && this.session.state === "open";
  }
  get answering(): boolean {
    const askedMs = this.#askedMs;
    if (askedMs === null || this.session.lastReceivedMs >= askedMs) return true;
    return this.#hub.now() - askedMs < SUSPECT_AFTER_PING_MS;
  }
  get inFlight(): number {
    return this.session.openStreams;
  }
  get rttMs(): number | null {
    return this.session.leastRttMs;
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedBytes;
  }

  /** HELLO, or RESYNC after a sleep. */
  begin(): void {
    if (this.#note.peer === null) this.#remember({});
    this.send(Number.POSITIVE_INFINITY);
  }

  // ---- what the host says

  received(message: Uint8Array | string): void {
    if (this.#isOver) return;
    if (typeof message === "string") this.close(CLOSE.protocol, "a text message");
    else this.session.receive(message);
  }

  drained(): void {
    if (!this.#isOver) this.#hub.wantsToSend(this);
  }

  /** Out of our books; whoever waits for one of its streams is told. */
  gone(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#hub.gone(this);
    this.session.lost(reason);
    if (this.instanceId !== "") this.#hub.offline(this, reason);
  }

  // ---- what the broker wants

  /** Packs messages while the socket has room; the host calls `drained` when it has again. */
  send(highWaterBytes: number): void {
    try {
      while (this.#socket.bufferedBytes < highWaterBytes) {
        const message = this.session.takeMessage();
        if (message === null) return;
        this.#socket.send(message);
      }
    } catch (error) {
      this.gone(`sending failed: ${String(error)}`);
    }
  }

  close(code: number, reason: string): void {
    this.send(Number.POSITIVE_INFINITY); // what is left is control: why we go
    if (this.#isOver) return;
    this.#socket.remember({ ...this.#note, state: "closed", peer: null });
    this.gone(reason);
    this.#note = { ...this.#note, state: "closed" };
    this.#socket.close(code, reason.slice(0, 120));
  }

  goAway(notice: GoAway): void {
    this.session.goAway(notice);
    this.#remember({ state: "draining" });
  }

  review(): void {
    const { grants, settings, wallNow } = this.#hub;
    const ending = endingOf(this.#note.credential, grants.get(this.connectorId), settings(), wallNow());
    if (ending !== null) this.close(ending.code, ending.reason);
    else this.#push();
  }

  nextEndingMs(): number | null {
    return nextEndingMs(this.#note.credential, this.#hub.grants.get(this.connectorId));
  }

  sweep(nowMs: number): void {
    if (this.instanceId === "" && nowMs - this.#greetingSinceMs >= HELLO_TIMEOUT_MS)
      return this.close(CLOSE.timeout, "no HELLO in time");
    const due = this.nextEndingMs();
    if (due !== null && due <= this.#hub.wallNow()) this.review();
    if (this.#askedMs !== null && this.session.lastReceivedMs >= this.#askedMs) this.#askedMs = null;
    if (this.inFlight === 0) return;
    if (this.#askedMs !== null) {
      if (nowMs - this.#askedMs >= DEAD_AFTER_PING_MS) this.close(CLOSE.timeout, "the connector is silent");
    } else if (nowMs - this.session.lastReceivedMs >= PING_AFTER_SILENCE_MS) {
      this.#askedMs = nowMs;
      this.session.ping();
    }
  }

  // ---- inside

  #greet(peer: PeerHello): void {
    if (peer.instanceId === "") return this.close(CLOSE.protocol, "HELLO without an instance id");
    this.targets = servable(peer.targets);
    this.#remember({ peer: { ...peer, features: [...peer.features], targets: [...this.targets] } });
    this.#hub.online(this);
    this.#push();
    this.#hub.greeted(this);
  }

  /** Tells a live connector of settings that changed. */
  #push(): void {
    const grant = this.#hub.grants.get(this.connectorId);
    if (grant === undefined || !this.serving) return;
    const { keepAliveMs, reconnectMaxMs } = this.#hub.settings();
    const { config, expiresAtMs } = grant;
    const key = JSON.stringify([config?.revision, config?.json, keepAliveMs, reconnectMaxMs, expiresAtMs]);
    if (key === this.#pushed || (key === NOTHING_TO_SAY && this.#pushed === NOTHING_PUSHED)) return;
    this.#pushed = key;
    const pushed: PushedConfig = {
      revision: config?.revision ?? 0,
      targetsJson: config?.json ?? null,
      keepAliveMs,
      reconnectMaxMs,
      leaveInMs: expiresAtMs === null ? null : Math.max(0, expiresAtMs - this.#hub.wallNow()),
    };
    this.#answersDue += 1;
    this.session.pushConfig(pushed);
  }

  async #renew(token: string): Promise<void> {
    const { renew, log, wallNow, wake } = this.#hub;
    try {
      const renewed = await renew(this, token);
      if (this.#isOver) return;
      if (!renewed.ok) return this.close(CLOSE.unauthorized, renewed.reason);
      const credential: Credential = {
        ...(renewed.credential ?? this.#note.credential),
        expiresAtMs: renewed.expiresAtMs,
      };
      this.#remember({ credential });
      this.session.tokenAccepted(Math.max(0, renewed.expiresAtMs - wallNow()));
      wake();
    } catch (error) {
      // The one that it has is good until it runs out, and the connector will send another.
      log.error("a token could not be checked", { ...this.#names(), error: String(error) });
    }
  }

  #remember(change: Partial<RestoredLink>): void {
    this.#note = { ...this.#note, ...change };
    this.#socket.remember(this.#note);
  }

  #names(): { connector: string; session: string } {
    return { connector: this.connectorId, session: this.sessionId };
  }
}

const NOTHING_PUSHED = "";
/** Settings that are all at their defaults need no push to a connector that was never told others. */
const NOTHING_TO_SAY = JSON.stringify([undefined, undefined, null, null, null]);

const isSame = (one: ReadonlySet<string>, other: ReadonlySet<string>): boolean =>
  one.size === other.size && [...one].every((name) => other.has(name));

/** Names that could be a target of ours; others are not kept, whatever the connector says. */
const servable = (targets: readonly string[]): Set<string> =>
  new Set(targets.filter((target) => target === CATCH_ALL || parseTarget(target).ok));
