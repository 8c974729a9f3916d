/**
 * What holds of a host over time, and whether an answer can be true. A change is in force at some moment between its call and the call's
 * return; what was before may be served for the promised bound longer (docs/storage.md, "Directory").
 */
export const EFFECTIVE_MS = 10_000;

/** Who answers below a prefix. */
export type By = "service" | "target";

/** Null: no tenant has the host. */
export type Truth = {
  readonly tenantId: string;
  readonly state: "active" | "suspended";
  /** Of each prefix of the host. */
  readonly routes: Readonly<Record<string, By>>;
} | null;

/** What a visitor asked and got. Times in milliseconds of one clock. */
export interface Asked {
  /** Prefix on the tenant's host; null: an address of the target itself. */
  readonly prefix: string | null;
  readonly startedMs: number;
  readonly endedMs: number;
}
export type Got =
  | { readonly kind: "answer"; readonly tenantId: string; readonly by: string }
  | { readonly kind: "error"; readonly code: string };

/**
 * `moving`: an error while a tenant was on its way out or in, when nobody is promised an answer. `failed`: an error that nothing explains, with
 * nobody's data in it. `wrong`: says what can't be true.
 */
export type Verdict = "good" | "refused" | "moving" | "failed" | "wrong";
const CLAIMS = new Set(["tenant-suspended", "unknown-host", "no-route"]);

interface Entry {
  readonly truth: Truth;
  readonly calledMs: number;
  returnedMs: number;
}

export interface Timeline {
  /** The truth that the last change leads to. */
  readonly current: Truth;
  /** Marks the beginning of a change; the function that comes back its end. */
  change(truth: Truth, nowMs: number): (nowMs: number) => void;
  readonly judge: (asked: Asked, got: Got) => Verdict;
}

export function createTimeline(): Timeline {
  let entries: Entry[] = [{ truth: null, calledMs: 0, returnedMs: 0 }];

  /** Those that an answer in this span may follow. An entry ends with the bound after the next one's return. */
  function possible({ startedMs, endedMs }: Asked): Truth[] {
    return entries
      .filter((entry, index) => {
        const next = entries[index + 1];
        return entry.calledMs <= endedMs && (next === undefined || next.returnedMs + EFFECTIVE_MS >= startedMs);
      })
      .map(({ truth }) => truth);
  }

  return {
    get current() {
      return entries.at(-1)?.truth ?? null;
    },
    change(truth, nowMs) {
      const entry: Entry = { truth, calledMs: nowMs, returnedMs: Infinity };
      // A minute is more than any request lasts.
      entries = entries.filter((_, index) => (entries[index + 1]?.returnedMs ?? Infinity) > nowMs - 60_000);
      entries.push(entry);
      return (atMs) => void (entry.returnedMs = atMs);
    },
    judge(asked, got) {
      const truths = possible(asked);
      if (got.kind === "answer") {
        const isTrue = truths.some(
          (truth) =>
            truth?.tenantId === got.tenantId &&
            truth.state === "active" &&
            (asked.prefix === null ? "target" : truth.routes[asked.prefix]) === got.by,
        );
        return isTrue ? "good" : "wrong";
      }
      const { prefix } = asked;
      if (got.code === "tenant-suspended" && truths.some((truth) => truth?.state === "suspended")) return "refused";
      if (got.code === "unknown-host" && truths.includes(null)) return "refused";
      const lacksRoute = (truth: Truth) => truth !== null && prefix !== null && truth.routes[prefix] === undefined;
      if (got.code === "no-route" && truths.some(lacksRoute)) return "refused";
      if (truths.includes(null)) return "moving";
      return CLAIMS.has(got.code) ? "wrong" : "failed";
    },
  };
}
