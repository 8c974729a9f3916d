/** Slots of a session that has streams for the first time; it doubles when half of them are taken. */
const FIRST_SLOTS = 16;

/**
 * A session's streams by id. Ids rise, so slots by their low bits are nearly always free. (Not a `Map`, whose outgrown tables keep the streams
 * of many requests from being collected: src/protocol/linked-list.ts.)
 */
export class StreamTable<T extends { readonly id: number }> {
  size = 0;
  #slots: (T | undefined)[] = []; // none for the many sessions that are idle

  get(id: number): T | undefined {
    const slots = this.#slots;
    if (slots.length === 0) return undefined;
    return slots[this.#find(id)];
  }

  /** `stream` must not be there. */
  add(stream: T): void {
    if (this.size * 2 >= this.#slots.length) this.#grow();
    this.#slots[this.#find(stream.id)] = stream;
    this.size += 1;
  }

  delete(id: number): void {
    const slots = this.#slots;
    if (this.get(id) === undefined) return;
    const mask = slots.length - 1;
    let hole = this.#find(id);
    slots[hole] = undefined;
    this.size -= 1;
    // Who stands behind a hole, but would rather stand in it, moves there: searches end at holes.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const stream = slots[at];
      if (stream === undefined) return;
      if (((at - home(stream.id)) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = stream;
      slots[at] = undefined;
      hole = at;
    }
  }

  /** All of now: it may change while they are looked at. */
  all(): T[] {
    return this.#slots.filter((stream) => stream !== undefined).toSorted((one, other) => one.id - other.id);
  }

  /** Where it is, or the free slot where it would be. */
  #find(id: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = home(id) & mask;
    for (;;) {
      const found = slots[at];
      if (found === undefined || found.id === id) return at;
      at = (at + 1) & mask;
    }
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = Array.from({ length: Math.max(FIRST_SLOTS, before.length * 2) });
    for (const stream of before) if (stream !== undefined) this.#slots[this.#find(stream.id)] = stream;
  }
}

/** Ids of the relay's streams are odd. */
const home = (id: number): number => id >>> 1;
