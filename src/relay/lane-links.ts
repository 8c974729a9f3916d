import { z } from "zod";
import { parseTarget } from "../policy/names.ts";
import { hello, type Hello } from "../protocol/tunnel/control.ts";
import { CLOSE } from "../protocol/tunnel/close-codes.ts";
import {
  createSession,
  type ByteBudget,
  type GoAway,
  type PeerHello,
  type Session,
} from "../protocol/tunnel/session.ts";
import type { Logger } from "../shared/log.ts";
import type { Candidate } from "./lane-pick.ts";
import {
  DEAD_AFTER_SILENCE_MS,
  HELLO_TIMEOUT_MS,
  PING_AFTER_SILENCE_MS,
  RECEIVE_BUDGET_BYTES,
  SEND_LIMITS,
  SESSION_LIMITS,
} from "./limits.ts";

/** One connector's socket and the session over it. */
export interface Link extends Candidate {
  readonly sessionId: string;
  readonly connectorId: string;
  /** Key that signed when it dialled: removing the key ends the socket. */
  readonly kid: string;
  readonly sinceMs: number;
  /** "" until HELLO came. */
  readonly instanceId: string;
  readonly targets: ReadonlySet<string>;
  readonly draining: boolean;
  readonly session: Session;
}

/** What survives sleep and eviction with the socket. At most 16 KiB: 256 targets of 20 characters are 6. */
const attachment = z.object({
  v: z.literal(1),
  state: z.enum(["live", "draining", "closed"]),
  sessionId: z.string(),
  connectorId: z.string(),
  kid: z.string(),
  sinceMs: z.number(),
  peer: hello.omit({ versions: true }).extend({ version: z.number() }).nullable(),
});
type Attachment = z.infer<typeof attachment>;

export interface LinksPorts {
  readonly now: () => number;
  /** Runs once after the events of this turn: one message a socket and turn, not one a frame. */
  readonly defer: (run: () => void) => void;
  readonly software: string;
  readonly log: Logger;
  readonly online: (link: Link) => void;
  readonly offline: (link: Link, reason: string) => void;
}

export interface Links {
  all(): Iterable<Link>;
  /** A socket that was accepted for an admitted connector. */
  add(socket: WebSocket, admitted: { sessionId: string; connectorId: string; kid: string }): void;
  /** What the runtime brings. A socket that is not ours any more is ignored. */
  received(socket: WebSocket, message: string | ArrayBuffer): void;
  /** The socket is gone. */
  gone(socket: WebSocket, reason: string): void;
  close(link: Link, code: number, reason: string): void;
  /** GOAWAY to all that greeted and take requests; answers them. They get no new requests from here on. */
  goAway(notice: GoAway): Link[];
  /** Asks silent connectors that have work, and drops those that stay silent. */
  sweep(): void;
}

interface LiveLink extends Link {
  readonly socket: WebSocket;
  note: Attachment;
  targets: ReadonlySet<string>;
  helloTimer: ReturnType<typeof setTimeout> | null;
}

/** `sleeping`: sockets that were there when the object woke. */
export function createLinks(ports: LinksPorts, sleeping: Iterable<WebSocket>): Links {
  const { now, log } = ports;
  const links = new Map<WebSocket, LiveLink>();
  const dirty = new Set<LiveLink>();
  const budget: ByteBudget = { totalBytes: RECEIVE_BUDGET_BYTES, committedBytes: 0 };
  // The runtime copies what is sent, so all messages are built in one place, one after another.
  let slab = new Uint8Array(SESSION_LIMITS.messageBytes);
  const allocate = (bytes: number): Uint8Array => {
    if (slab.length < bytes) slab = new Uint8Array(bytes);
    return slab.subarray(0, bytes);
  };

  const note = (link: LiveLink, change: Partial<Attachment>): void => {
    link.note = { ...link.note, ...change };
    link.socket.serializeAttachment(link.note);
  };

  const send = (link: LiveLink): void => {
    try {
      for (let message = link.session.takeMessage(); message !== null; message = link.session.takeMessage())
        link.socket.send(message);
    } catch (error) {
      drop(link, `sending failed: ${String(error)}`);
    }
  };

  const flush = (): void => {
    for (const link of dirty) {
      dirty.delete(link);
      send(link);
    }
  };

  /** Out of our books; whoever waits for one of its streams is told. */
  const drop = (link: LiveLink, reason: string): void => {
    if (links.get(link.socket) !== link) return;
    links.delete(link.socket);
    dirty.delete(link);
    if (link.helloTimer !== null) clearTimeout(link.helloTimer);
    link.session.lost(reason);
    if (link.instanceId !== "") ports.offline(link, reason);
  };

  const close = (link: LiveLink, code: number, reason: string): void => {
    send(link);
    if (links.get(link.socket) !== link) return;
    note(link, { state: "closed", peer: null });
    drop(link, reason);
    link.socket.close(code, reason.slice(0, 120));
  };

  const live = (socket: WebSocket, first: Attachment): LiveLink => {
    const session = createSession({
      role: "relay",
      now,
      limits: SESSION_LIMITS,
      send: SEND_LIMITS,
      identity: { instanceId: "", targets: [], sessionId: first.sessionId, software: ports.software },
      budget,
      allocate,
      ...(first.peer === null ? {} : { restored: first.peer }),
      events: {
        flushNeeded() {
          if (dirty.size === 0) ports.defer(flush);
          dirty.add(link);
        },
        hello: (peer) => greeted(link, peer),
        targets(targets) {
          link.targets = servable(targets);
          if (link.note.peer !== null) note(link, { peer: { ...link.note.peer, targets: [...link.targets] } });
        },
        draining: () => note(link, { state: "draining" }),
        failed({ closeCode, reason }) {
          log.warn("a connector broke the protocol", {
            connector: link.connectorId,
            session: link.sessionId,
            closeCode,
            reason,
          });
          ports.defer(() => close(link, closeCode, reason));
        },
      },
    });
    const link: LiveLink = {
      socket,
      session,
      note: first,
      targets: servable(first.peer?.targets ?? []),
      helloTimer: null,
      sessionId: first.sessionId,
      connectorId: first.connectorId,
      kid: first.kid,
      sinceMs: first.sinceMs,
      get instanceId() {
        return link.note.peer?.instanceId ?? "";
      },
      get draining() {
        return link.note.state !== "live";
      },
      get inFlight() {
        return session.openStreams;
      },
      get rttMs() {
        return session.rttMs;
      },
    };
    links.set(socket, link);
    return link;
  };

  const greeted = (link: LiveLink, peer: PeerHello): void => {
    if (link.helloTimer !== null) clearTimeout(link.helloTimer);
    link.helloTimer = null;
    if (peer.instanceId === "") return close(link, CLOSE.protocol, "HELLO without an instance id");
    link.targets = servable(peer.targets);
    note(link, { peer: { ...peer, features: [...peer.features], targets: [...link.targets] } });
    ports.online(link);
    for (const other of links.values()) {
      if (other === link || other.connectorId !== link.connectorId || other.instanceId !== link.instanceId) continue;
      if (other.draining) {
        if (other.inFlight === 0) close(other, CLOSE.goneAway, "drained");
        continue; // else it finishes what it has
      }
      const reason = "another socket of the same instance took over";
      other.session.replaced(reason);
      close(other, CLOSE.replaced, reason);
    }
  };

  for (const socket of sleeping) {
    const parsed = attachment.safeParse(socket.deserializeAttachment());
    if (!parsed.success || parsed.data.state === "closed") continue;
    // Nothing is known of a connector that had not said HELLO yet.
    if (parsed.data.peer === null) socket.close(1012, "the lane was restarted");
    else if (socket.readyState === WebSocket.READY_STATE_OPEN) send(live(socket, parsed.data));
  }

  return {
    all: () => links.values(),
    add(socket, admitted) {
      const link = live(socket, { v: 1, state: "live", ...admitted, sinceMs: now(), peer: null });
      note(link, {});
      link.helloTimer = setTimeout(() => close(link, CLOSE.timeout, "no HELLO in time"), HELLO_TIMEOUT_MS);
      send(link);
    },
    received(socket, message) {
      const link = links.get(socket);
      if (link === undefined) return;
      if (typeof message === "string") close(link, CLOSE.protocol, "a text message");
      else link.session.receive(new Uint8Array(message));
    },
    gone(socket, reason) {
      const link = links.get(socket);
      if (link !== undefined) drop(link, reason);
    },
    close(link, code, reason) {
      const found = [...links.values()].find((each) => each === link);
      if (found !== undefined) close(found, code, reason);
    },
    goAway(notice) {
      const told = [...links.values()].filter((link) => link.note.state === "live" && link.instanceId !== "");
      for (const link of told) {
        link.session.goAway(notice);
        note(link, { state: "draining" });
      }
      return told;
    },
    sweep() {
      for (const link of links.values()) {
        const silentMs = now() - link.session.lastReceivedMs;
        if (link.inFlight === 0 || silentMs < PING_AFTER_SILENCE_MS) continue;
        if (silentMs >= DEAD_AFTER_SILENCE_MS) close(link, CLOSE.timeout, "the connector is silent");
        else link.session.ping();
      }
    },
  };
}

/** Names that could be a target of ours; others are not kept, whatever the connector says. */
const servable = (targets: Hello["targets"] | readonly string[]): Set<string> =>
  new Set(targets.filter((target) => parseTarget(target).ok));
