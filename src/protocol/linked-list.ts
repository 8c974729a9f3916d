/** A member of a list, which owns these two. */
export interface Linked<T> {
  before: T | null;
  after: T | null;
}

/**
 * Members in the order in which they came, for what comes and goes with every request. A `Set` is no good for that: V8 links the table that
 * it has outgrown to the next one, so as soon as one table is old, all later ones and every request that was in them survive until the next
 * full collection. Here who has left points at nobody.
 */
export class LinkedList<T extends Linked<T>> {
  first: T | null = null;
  size = 0;
  #last: T | null = null;

  /** `member` must be in no list that uses the same links. */
  add(member: T): void {
    member.before = this.#last;
    if (this.#last === null) this.first = member;
    else this.#last.after = member;
    this.#last = member;
    this.size += 1;
  }

  /** `member` must be in this list. */
  remove(member: T): void {
    const { before, after } = member;
    if (before === null) this.first = after;
    else before.after = after;
    if (after === null) this.#last = before;
    else after.before = before;
    member.before = null;
    member.after = null;
    this.size -= 1;
  }

  /** All of now: the list may change while they are looked at. */
  all(): T[] {
    const members: T[] = [];
    for (let at = this.first; at !== null; at = at.after) members.push(at);
    return members;
  }
}
