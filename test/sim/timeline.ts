/** Virtual time. Events run in order of their time, those of one moment in the order in which they were entered. */
export interface Timeline {
  now(): number;
  after(delayMs: number, run: () => void): void;
  /** Runs until nothing is left. Throws when that never comes. */
  drain(): void;
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

const STEPS_MAX = 200_000;
const sooner = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

export function createTimeline(): Timeline {
  const heap: Event[] = [];
  let nowMs = 1000;
  let order = 0;
  let steps = 0;

  const push = (event: Event): void => {
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !sooner(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  };

  const pop = (): Event | undefined => {
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let best = left;
      if (right !== undefined && sooner(right, left)) {
        best = right;
        child += 1;
      }
      if (!sooner(best, last)) break;
      heap[at] = best;
      at = child;
    }
    heap[at] = last;
    return top;
  };

  return {
    now: () => nowMs,
    after(delayMs, run) {
      order += 1;
      push({ atMs: nowMs + delayMs, order, run });
    },
    drain() {
      for (let event = pop(); event !== undefined; event = pop()) {
        steps += 1;
        if (steps > STEPS_MAX) throw new Error("it never comes to rest");
        nowMs = event.atMs;
        event.run();
      }
    },
  };
}
