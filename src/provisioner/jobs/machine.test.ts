import { expect, test } from "vitest";
import { jobDefinition, type JobDefinition, type JobSet } from "../../protocol/jobs.ts";
import {
  advance,
  answered,
  applySet,
  askRun,
  askStop,
  interrupted,
  later,
  release,
  retryDelayMs,
  type CallOutcome,
  type Turn,
} from "./machine.ts";
import { emptyWorker, type LogLine, type RunRecord, type WorkerState } from "./state.ts";

const T0 = 1_000_000;
const DONE: CallOutcome = { kind: "done", next: null, records: 2, note: "status 200" };
const BUSY: CallOutcome = { kind: "busy", retryAfterMs: null, reason: "status 503" };
const more = (next: string): CallOutcome => ({ ...DONE, next });

const job = (id: string, change: Partial<JobDefinition> = {}): JobDefinition => ({
  ...jobDefinition.parse({
    id,
    name: id,
    enabled: true,
    schedule: { kind: "interval", everySeconds: 10 },
    action: { kind: "target", target: "erp", path: "/sync" },
    auth: null,
    retry: true,
    repeatable: false,
    timeoutMs: 1_000,
    maxItems: 5,
    createdAtMs: T0,
    cursor: { epoch: 0, atMs: null },
    sealed: { webhook: null, client: null },
  }),
  ...change,
});

const setOf = (jobs: JobDefinition[], change: Partial<JobSet> = {}): JobSet => ({
  tenantId: "ten_1",
  tenant: "acme",
  host: "acme.test",
  worker: 0,
  revision: 1,
  active: true,
  logLevel: "debug",
  jobs,
  ...change,
});

/** A worker with a clock in the test's hand, and everything that it recorded. */
function worker(jobs: JobDefinition[]) {
  let state: WorkerState = emptyWorker("ten_1", 0);
  let nowMs = T0;
  let ids = 0;
  const records = new Map<string, RunRecord>();
  const lines: LogLine[] = [];
  const context = () => ({ nowMs, newId: (kind: "run" | "evt") => `${kind}_${(ids += 1)}` });
  function take<T extends Turn>(turn: T): T {
    state = turn.state;
    for (const record of turn.records) {
      expect(record.version).toBeGreaterThan(records.get(record.runId)?.version ?? 0);
      records.set(record.runId, record);
    }
    lines.push(...turn.lines);
    return turn;
  }
  const self = {
    put: (set: JobSet) => take(applySet(state, set, context())),
    release: (revision: number, keep: string[]) => take(release(state, revision, keep, context())),
    run: (id: string) => take(askRun(state, id, context())).answer,
    stop: (id: string) => take(askStop(state, id, context())).answer,
    /** The job whose call is to be made, or until when there is nothing to do. */
    next(): string | number | null {
      const { step } = take(advance(state, context()));
      return step.kind === "call" ? step.run.record.jobId : step.untilMs === null ? null : step.untilMs - T0;
    },
    answer: (outcome: CallOutcome) => take(answered(state, outcome, context())),
    cut: () => take(interrupted(state, context())),
    at(ms: number): void {
      nowMs = T0 + ms;
    },
    runs: () => [...records.values()],
    last: () => [...records.values()].at(-1),
    lines,
    cursorOf: (id: string) => state.jobs.find(({ definition }) => definition.id === id)?.definition.cursor,
    page: () => state.run?.page,
  };
  self.put(setOf(jobs));
  return self;
}

test("jobs of a worker run one after another, in the order in which they became due", () => {
  const w = worker([job("a", { schedule: { kind: "interval", everySeconds: 20 } }), job("b"), job("c")]);
  expect(w.next()).toBe(10_000);
  w.at(10_000);
  expect(w.next()).toBe("b");
  w.answer(DONE);
  expect(w.next()).toBe("c");
  w.at(21_000);
  w.answer(DONE);
  // b, c and a are due at the same second: as they were made.
  expect(w.next()).toBe("a");
  w.answer(DONE);
  expect(w.next()).toBe("b");
  w.answer(DONE);
  expect(w.next()).toBe("c");
  w.answer(DONE);
  expect(w.next()).toBe(30_000);
});

test("a run that takes longer than its interval is followed by one, never beside it", () => {
  const w = worker([job("a")]);
  w.at(10_000);
  expect(w.next()).toBe("a");
  w.at(47_000);
  w.answer(DONE);
  expect(w.next()).toBe("a");
  w.at(48_000);
  w.answer(DONE);
  expect(w.next()).toBe(50_000);
  expect(w.runs().map(({ startedAtMs, endedAtMs }) => [startedAtMs, endedAtMs])).toEqual([
    [T0 + 10_000, T0 + 47_000],
    [T0 + 47_000, T0 + 48_000],
  ]);
});

test("a run goes from item to item, and counts", () => {
  const w = worker([job("a")]);
  w.at(10_000);
  w.next();
  w.answer(more("p2"));
  expect(w.next()).toBe("a");
  expect(w.page()).toBe("p2");
  w.at(12_000);
  w.answer(DONE);
  expect(w.last()).toMatchObject({ state: "succeeded", items: 2, records: 4, errors: 0, trigger: "schedule" });
  expect(w.last()).toMatchObject({ startedAtMs: T0 + 10_000, endedAtMs: T0 + 12_000 });
  expect(w.lines.map(({ message }) => message)).toEqual([
    "run began (schedule)",
    "item 1: status 200",
    "item 2: status 200",
    "run succeeded: items 2, records 4",
  ]);
});

test("an end that never comes is one", () => {
  const w = worker([job("a", { maxItems: 2 })]);
  w.at(10_000);
  w.next();
  w.answer(more("p"));
  w.next();
  w.answer(more("p"));
  expect(w.last()).toMatchObject({ state: "failed", items: 2 });
});

test("429 and 503 are tried again after 500 ms, then twice as long, four times in all", () => {
  const w = worker([job("a")]);
  let ms = 10_000;
  w.at(ms);
  for (const waitMs of [500, 1_000, 2_000]) {
    expect(w.next()).toBe("a");
    w.answer(BUSY);
    expect(w.next()).toBe(ms + waitMs);
    w.at((ms += waitMs));
  }
  expect(w.next()).toBe("a");
  w.answer(BUSY);
  expect(w.last()).toMatchObject({ state: "failed", errors: 4, retries: 3, items: 0, reason: "item 1: status 503" });
});

test("the wait is at most 15 s, and what the answer asks for up to then", () => {
  expect([1, 2, 3, 6, 7].map((attempt) => retryDelayMs(attempt, null))).toEqual([500, 1_000, 2_000, 15_000, 15_000]);
  expect(retryDelayMs(1, 4_000)).toBe(4_000);
  expect(retryDelayMs(1, 60_000)).toBe(15_000);
  expect(retryDelayMs(3, 1_000)).toBe(2_000);
});

test("each item has its own attempts", () => {
  const w = worker([job("a")]);
  w.at(10_000);
  w.next();
  w.answer(BUSY);
  w.at(10_500);
  w.next();
  w.answer(more("p2"));
  for (const ms of [500, 1_000, 2_000]) {
    w.next();
    w.answer(BUSY);
    w.at(20_000 + ms * 10);
  }
  expect(w.next()).toBe("a");
  w.answer(DONE);
  expect(w.last()).toMatchObject({ state: "succeeded", items: 2, retries: 4 });
});

test("with retries switched off nothing is tried again, and other failures never are", () => {
  const w = worker([job("a", { retry: false })]);
  w.at(10_000);
  w.next();
  w.answer(BUSY);
  expect(w.last()).toMatchObject({ state: "failed", retries: 0 });
  const other = worker([job("a")]);
  other.at(10_000);
  other.next();
  other.answer({ kind: "failed", reason: "status 500" });
  expect(other.last()).toMatchObject({ state: "failed", retries: 0, reason: "item 1: status 500" });
});

test("a stop lets the current item finish, with its attempts, and begins no other", () => {
  const w = worker([job("a")]);
  w.at(10_000);
  w.next();
  expect(w.stop("a")).toMatchObject({ kind: "stopping" });
  w.answer(BUSY);
  expect(w.next()).toBe(10_500);
  w.at(10_500);
  expect(w.next()).toBe("a");
  w.answer(more("p2"));
  expect(w.next()).toBe(20_000);
  expect(w.last()).toMatchObject({ state: "stopped", items: 1, reason: "somebody stopped it" });
  expect(w.cursorOf("a")).toEqual({ epoch: 0, atMs: null });
  expect(w.stop("a")).toEqual({ kind: "idle" });
});

test("a stop that comes with the last item changes nothing", () => {
  const w = worker([job("a")]);
  w.at(10_000);
  w.next();
  w.stop("a");
  w.answer(DONE);
  expect(w.last()).toMatchObject({ state: "succeeded" });
});

test("the cursor is where the last run that succeeded began; a failed one leaves it", () => {
  const w = worker([job("a")]);
  w.at(10_000);
  w.next();
  w.at(14_000);
  w.answer(DONE);
  expect(w.cursorOf("a")).toEqual({ epoch: 0, atMs: T0 + 10_000 });
  w.at(20_000);
  w.next();
  w.answer({ kind: "failed", reason: "no" });
  expect(w.cursorOf("a")).toEqual({ epoch: 0, atMs: T0 + 10_000 });
  w.at(30_000);
  w.next();
  w.answer(DONE);
  expect(w.runs().map(({ sinceMs }) => sinceMs)).toEqual([null, T0 + 10_000, T0 + 10_000]);
  expect(w.cursorOf("a")).toEqual({ epoch: 0, atMs: T0 + 30_000 });
});

test("a reset of the cursor holds, also against a run that is under way", () => {
  const w = worker([job("a", { cursor: { epoch: 0, atMs: T0 } })]);
  w.at(10_000);
  w.next();
  w.put(setOf([job("a", { cursor: { epoch: 1, atMs: null } })], { revision: 2 }));
  w.answer(DONE);
  expect(w.cursorOf("a")).toEqual({ epoch: 1, atMs: null });
  expect(later({ epoch: 0, atMs: 9 }, { epoch: 0, atMs: null })).toEqual({ epoch: 0, atMs: 9 });
});

test("a run by hand waits its turn, and is never a second one", () => {
  const w = worker([job("a"), job("b", { schedule: { kind: "manual" } })]);
  w.at(10_000);
  expect(w.next()).toBe("a");
  const asked = w.run("b");
  expect(asked.kind).toBe("queued");
  expect(w.run("b")).toEqual({ ...asked, kind: "busy" });
  expect(w.run("a").kind).toBe("busy");
  expect(w.run("z")).toEqual({ kind: "unknown" });
  w.answer(DONE);
  expect(w.next()).toBe("b");
  w.answer(DONE);
  expect(w.last()).toMatchObject({ jobId: "b", trigger: "manual", state: "succeeded" });
  w.run("b");
  expect(w.stop("b").kind).toBe("withdrawn");
  expect(w.last()).toMatchObject({ jobId: "b", state: "stopped", startedAtMs: null });
});

test("a suspended tenant's jobs stop after their item, and go on with one run each when it is back", () => {
  const w = worker([job("a"), job("b")]);
  w.at(10_000);
  expect(w.next()).toBe("a");
  w.put(setOf([job("a"), job("b")], { revision: 2, active: false }));
  expect(w.run("b")).toEqual({ kind: "inactive" });
  w.answer(more("p2"));
  expect(w.next()).toBeNull();
  expect(w.runs().map(({ jobId, state, reason }) => [jobId, state, reason])).toEqual([
    ["a", "stopped", "the tenant was suspended"],
    ["b", "stopped", "the tenant was suspended"],
  ]);
  w.at(95_000);
  expect(w.next()).toBeNull();
  w.put(setOf([job("a"), job("b")], { revision: 3 }));
  expect(w.next()).toBe("a");
  w.answer(DONE);
  expect(w.next()).toBe("b");
  w.answer(DONE);
  expect(w.next()).toBe(100_000);
});

test("a wait for the next attempt ends at once when the job is switched off or removed", () => {
  for (const jobs of [[job("a", { enabled: false })], []]) {
    const w = worker([job("a")]);
    w.at(10_000);
    w.next();
    w.answer(BUSY);
    w.put(setOf(jobs, { revision: 2 }));
    expect(w.next()).toBeNull();
    expect(w.last()).toMatchObject({ state: "stopped", errors: 1 });
  }
});

test("an older set never replaces a newer one, and an unchanged schedule keeps its time", () => {
  const w = worker([job("a")]);
  w.at(9_000);
  w.put(setOf([job("a", { timeoutMs: 2_000 })], { revision: 5 }));
  w.put(setOf([], { revision: 4 }));
  expect(w.next()).toBe(10_000);
  w.put(setOf([job("a", { schedule: { kind: "interval", everySeconds: 60 } })], { revision: 6 }));
  expect(w.next()).toBe(60_000);
});

test("a job that goes to another worker ends here first", () => {
  const w = worker([job("a"), job("b")]);
  w.at(10_000);
  expect(w.next()).toBe("a");
  w.release(2, []);
  w.answer(more("p2"));
  expect(w.next()).toBeNull();
  expect(w.runs().map(({ state }) => state)).toEqual(["stopped", "stopped"]);
});

test("what was cut off is repeated where that does no harm, else the run has failed", () => {
  const get = job("a", {
    action: { kind: "target", target: "erp", path: "/", method: "GET", headers: {}, body: null },
  });
  for (const repeatable of [get, job("a", { repeatable: true })]) {
    const w = worker([repeatable]);
    w.at(10_000);
    w.next();
    w.answer(more("p2"));
    w.next();
    w.cut();
    expect(w.next()).toBe("a");
    expect(w.page()).toBe("p2");
    w.answer(DONE);
    expect(w.last()).toMatchObject({ state: "succeeded", items: 2, errors: 1, retries: 1 });
  }
  const w = worker([job("a")]);
  w.at(10_000);
  w.next();
  w.cut();
  expect(w.last()?.state).toBe("failed");
  expect(w.last()?.reason).toContain("a POST may not be sent twice");
  // Between two items nothing was under way.
  w.cut();
  expect(w.next()).toBe(20_000);
});

test("a run that cuts its worker off again and again is given up", () => {
  const w = worker([job("a", { repeatable: true })]);
  w.at(10_000);
  for (let i = 0; i < 4; i++) {
    expect(w.next()).toBe("a");
    w.cut();
  }
  expect(w.last()).toMatchObject({ state: "failed", reason: "the worker was cut off 4 times" });
});

test("the log keeps to its level and length", () => {
  const w = worker([job("a", { maxItems: 10_000 })]);
  w.put(setOf([job("a", { maxItems: 10_000 })], { revision: 2, logLevel: "info" }));
  w.at(10_000);
  w.next();
  w.answer(DONE);
  expect(w.lines.map(({ level }) => level)).toEqual(["info", "info"]);
  w.put(setOf([job("a", { maxItems: 10_000 })], { revision: 3 }));
  w.at(20_000);
  for (let i = 0; i < 2_000; i++) {
    w.next();
    w.answer(more("p"));
  }
  w.next();
  w.answer(DONE);
  expect(w.lines.length).toBe(503);
  expect(w.lines.at(-1)?.message).toBe("run succeeded: items 2001, records 4002");
});
