import { URGENCY_MAX } from "./limits.ts";

/** What is scheduled. `place` belongs to the scheduler; a new one stands "nowhere". */
export interface Sender {
  /** 0 first to 7 last (RFC 9218). */
  readonly urgency: number;
  place: "nowhere" | "heads" | "bodies" | "credit";
}

type Levels<T> = (Set<T> | undefined)[];

/** So many turns of the more urgent, then one of the less urgent: at least a ninth of the frames, so that nothing starves. */
const URGENT_TURNS = 8;

/**
 * Whose turn it is. Heads come before all bodies; among heads and among bodies the more urgent first; within one urgency each in turn. While
 * the less urgent wait, every ninth turn of the bodies is theirs, each urgency of them in turn. Who waits for session credit stands aside.
 */
export class Scheduler<T extends Sender> {
  // Made when they are needed: a relay holds ten thousand idle sessions.
  readonly #heads: Levels<T> = [];
  readonly #bodies: Levels<T> = [];
  readonly #credit = new Set<T>();
  #size = 0;
  #urgentTurns = 0;
  #lastTrickled = 0;

  /** How many wait for a turn. */
  get size(): number {
    return this.#size;
  }

  /** It has something to send. */
  addBody(sender: T): void {
    if (sender.place === "heads" || sender.place === "bodies") return;
    this.#put(sender, "bodies");
  }

  /** The same, with a head in front. */
  addHead(sender: T): void {
    if (sender.place !== "heads") this.#put(sender, "heads");
  }

  /** It has something to send as soon as the session has credit. */
  waitForCredit(sender: T): void {
    if (sender.place !== "credit") this.#put(sender, "credit");
  }

  creditCame(): void {
    for (const sender of this.#credit) this.#put(sender, "bodies");
  }

  remove(sender: T): void {
    const { place } = sender;
    if (place === "nowhere") return;
    sender.place = "nowhere";
    if (place === "credit") {
      this.#credit.delete(sender);
      return;
    }
    this.#size -= 1;
    (place === "heads" ? this.#heads : this.#bodies)[sender.urgency]?.delete(sender);
  }

  /** The next one; it stands nowhere afterwards. `head`: it was among the heads. */
  next(): { readonly sender: T; readonly head: boolean } | null {
    if (this.#size === 0) return null;
    const level = mostUrgent(this.#heads);
    const head = level === null ? null : front(this.#heads[level]);
    const sender = head ?? this.#nextBody();
    if (sender === null) return null;
    this.remove(sender);
    return { sender, head: head !== null };
  }

  #nextBody(): T | null {
    const top = mostUrgent(this.#bodies);
    if (top === null) return null;
    const less = this.#lessUrgent(top);
    if (less === null) {
      this.#urgentTurns = 0;
      return front(this.#bodies[top]);
    }
    if (this.#urgentTurns < URGENT_TURNS) {
      this.#urgentTurns += 1;
      return front(this.#bodies[top]);
    }
    this.#urgentTurns = 0;
    this.#lastTrickled = less;
    return front(this.#bodies[less]);
  }

  /** The urgency below `top` whose trickle is next: the one after the last, around. */
  #lessUrgent(top: number): number | null {
    const below = URGENCY_MAX - top;
    const start = Math.max(this.#lastTrickled, top);
    for (let step = 1; step <= below; step++) {
      const urgency = top + 1 + ((start - top + step - 1) % below);
      if ((this.#bodies[urgency]?.size ?? 0) > 0) return urgency;
    }
    return null;
  }

  #put(sender: T, place: "heads" | "bodies" | "credit"): void {
    this.remove(sender);
    sender.place = place;
    if (place === "credit") {
      this.#credit.add(sender);
      return;
    }
    this.#size += 1;
    const levels = place === "heads" ? this.#heads : this.#bodies;
    const level = (levels[sender.urgency] ??= new Set());
    level.add(sender);
  }
}

function mostUrgent<T>(levels: Levels<T>): number | null {
  for (let urgency = 0; urgency <= URGENCY_MAX; urgency++) if ((levels[urgency]?.size ?? 0) > 0) return urgency;
  return null;
}

function front<T>(level: Set<T> | undefined): T | null {
  if (level !== undefined) for (const sender of level) return sender;
  return null;
}
