import { LinkedList, type Linked } from "../linked-list.ts";
import { URGENCY_MAX } from "./limits.ts";

/** What is scheduled. `place` and the links belong to the scheduler; a new one stands "nowhere". */
export interface Sender<T> extends Linked<T> {
  /** 0 first to 7 last (RFC 9218). */
  readonly urgency: number;
  place: "nowhere" | "front" | "heads" | "bodies" | "credit";
}

/** So many turns of the more urgent, then one of the less urgent: at least a ninth of the frames, so that nothing starves. */
const URGENT_TURNS = 8;

/**
 * Whose turn it is. Heads come before all bodies, in the order in which they came: ids of new streams must rise on the wire. Among bodies the more
 * urgent come first, within one urgency each in turn. While the less urgent wait, every ninth turn of the bodies is theirs, each urgency of them in turn. Who waits for session credit stands aside.
 */
export class Scheduler<T extends Sender<T>> {
  #front: T | null = null;
  readonly #heads = new LinkedList<T>();
  /** By urgency. Made when they are needed: a relay holds ten thousand idle sessions. */
  readonly #bodies: (LinkedList<T> | undefined)[] = [];
  readonly #credit = new LinkedList<T>();
  #size = 0;
  #urgentTurns = 0;
  #lastTrickled = 0;

  /** How many wait for a turn. */
  get size(): number {
    return this.#size;
  }

  /** It has something to send. */
  addBody(sender: T): void {
    if (sender.place === "nowhere" || sender.place === "credit") this.#put(sender, "bodies");
  }

  /** The same, with a head in front. */
  addHead(sender: T): void {
    if (sender.place !== "heads" && sender.place !== "front") this.#put(sender, "heads");
  }

  /** It did not fit into the message: it goes first in the next one. */
  putBack(sender: T): void {
    sender.place = "front";
    this.#front = sender;
    this.#size += 1;
  }

  /** It has something to send as soon as the session has credit. */
  waitForCredit(sender: T): void {
    if (sender.place !== "credit") this.#put(sender, "credit");
  }

  creditCame(): void {
    for (const sender of this.#credit.all()) this.#put(sender, "bodies");
  }

  remove(sender: T): void {
    const { place } = sender;
    if (place === "nowhere") return;
    sender.place = "nowhere";
    if (place === "credit") {
      this.#credit.remove(sender);
      return;
    }
    this.#size -= 1;
    if (place === "front") this.#front = null;
    else if (place === "heads") this.#heads.remove(sender);
    else this.#bodies[sender.urgency]?.remove(sender);
  }

  /** The next one; it stands nowhere afterwards. `head`: it was among the heads. */
  next(): { readonly sender: T; readonly head: boolean } | null {
    if (this.#size === 0) return null;
    const sender = this.#front ?? this.#heads.first ?? this.#nextBody();
    if (sender === null) return null;
    const head = sender.place === "heads";
    this.remove(sender);
    return { sender, head };
  }

  #nextBody(): T | null {
    let top = 0;
    while (top <= URGENCY_MAX && (this.#bodies[top]?.size ?? 0) === 0) top += 1;
    if (top > URGENCY_MAX) return null;
    const less = this.#lessUrgent(top);
    if (less === null) {
      this.#urgentTurns = 0;
      return this.#bodies[top]?.first ?? null;
    }
    if (this.#urgentTurns < URGENT_TURNS) {
      this.#urgentTurns += 1;
      return this.#bodies[top]?.first ?? null;
    }
    this.#urgentTurns = 0;
    this.#lastTrickled = less;
    return this.#bodies[less]?.first ?? null;
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
    if (place === "heads") this.#heads.add(sender);
    else (this.#bodies[sender.urgency] ??= new LinkedList<T>()).add(sender);
  }
}
