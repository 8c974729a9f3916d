import { nextDue } from "../../policy/schedule.ts";
import type { JobCursor, JobDefinition, JobLogLevel, JobRunAsked, JobSet, JobStopAsked } from "../../protocol/jobs.ts";
import { JOB_ATTEMPTS, JOB_INTERRUPTIONS, JOB_LINES_PER_RUN, JOB_RETRY_FIRST_MS, JOB_RETRY_MAX_MS } from "../limits.ts";
import type { ActiveRun, JobState, LogLine, RunRecord, WorkerState } from "./state.ts";

/**
 * A worker of a tenant as a pure state machine: one run at a time, in the order in which they became due, each of them item after item. No IO,
 * no clock: time and ids come in, and what is to be recorded goes out with the new state. The host (worker-object.ts) stores the state before it
 * acts on it, so whatever is cut off is found as it was.
 */
export interface Turn {
  readonly state: WorkerState;
  /** Runs whose record has changed, as they are now. */
  readonly records: readonly RunRecord[];
  readonly lines: readonly LogLine[];
}

export type Step =
  /** Make this call: the state says that it is under way. */
  | { readonly kind: "call"; readonly run: ActiveRun }
  /** Nothing to do until then; null: until somebody says something. */
  | { readonly kind: "idle"; readonly untilMs: number | null };

/** What came of a call. */
export type CallOutcome =
  | {
      readonly kind: "done";
      /** What to ask for in the next item; null: that was all. */
      readonly next: string | null;
      readonly records: number;
      readonly note: string;
    }
  /** 429 or 503. */
  | { readonly kind: "busy"; readonly retryAfterMs: number | null; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

interface Context {
  readonly nowMs: number;
  /** A new id of a run or line. */
  readonly newId: (kind: "run" | "evt") => string;
}

const RANK: Record<JobLogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };
const unchanged = (state: WorkerState): Turn => ({ state, records: [], lines: [] });

/** A newer set of jobs. What runs goes on as it began, or ends after its current item when the set says that it should not run. */
export function applySet(state: WorkerState, set: JobSet, context: Context): Turn {
  if (set.revision < state.revision) return unchanged(state);
  const known = new Map(state.jobs.map((job) => [job.definition.id, job]));
  const jobs = set.jobs.map((definition): JobState => {
    const before = known.get(definition.id);
    const cursor = before === undefined ? definition.cursor : later(before.definition.cursor, definition.cursor);
    const kept =
      before !== undefined && JSON.stringify(before.definition.schedule) === JSON.stringify(definition.schedule);
    const due =
      kept && before.definition.enabled
        ? before.nextDueMs
        : nextDue(definition.schedule, definition.createdAtMs, context.nowMs);
    return { definition: { ...definition, cursor }, nextDueMs: definition.enabled ? due : null };
  });
  const { jobs: _jobs, ...rest } = set;
  return endUnwanted({ ...state, ...rest, jobs }, context);
}

/** Lets go of all jobs but those. */
export function release(state: WorkerState, revision: number, keep: readonly string[], context: Context): Turn {
  if (revision < state.revision) return unchanged(state);
  const jobs = state.jobs.filter(({ definition }) => keep.includes(definition.id));
  return endUnwanted({ ...state, revision, jobs }, context);
}

/** Withdraws what waits and stops what runs of jobs that are not to run any more. */
function endUnwanted(state: WorkerState, context: Context): Turn {
  const enabled = new Map(state.jobs.map(({ definition }) => [definition.id, definition.enabled]));
  const why = (jobId: string): "suspended" | "disabled" | "removed" | null => {
    if (!enabled.has(jobId)) return "removed";
    if (enabled.get(jobId) === false) return "disabled";
    return state.active ? null : "suspended";
  };
  const withdrawn = state.queue.flatMap((record) => {
    const reason = why(record.jobId);
    return reason === null ? [] : [ended(record, "stopped", WHY[reason], context.nowMs)];
  });
  const queue = state.queue.filter(({ jobId }) => why(jobId) === null);
  const { run } = state;
  const stop = run === null ? null : (run.stop ?? why(run.record.jobId));
  return { state: { ...state, queue, run: run === null ? null : { ...run, stop } }, records: withdrawn, lines: [] };
}

const WHY = {
  asked: "somebody stopped it",
  suspended: "the tenant was suspended",
  disabled: "the job was switched off",
  removed: "the job was removed from this worker",
} as const;

/** Somebody wants a run now. */
export function askRun(state: WorkerState, jobId: string, context: Context): Turn & { readonly answer: JobRunAsked } {
  const job = state.jobs.find(({ definition }) => definition.id === jobId);
  if (job === undefined) return { ...unchanged(state), answer: { kind: "unknown" } };
  if (!state.active || !job.definition.enabled) return { ...unchanged(state), answer: { kind: "inactive" } };
  const present = openRunOf(state, jobId);
  if (present !== null) return { ...unchanged(state), answer: { kind: "busy", runId: present } };
  const record = newRun(state, job.definition, "manual", context);
  const queue = [...state.queue, record];
  return { state: { ...state, queue }, records: [record], lines: [], answer: { kind: "queued", runId: record.runId } };
}

/** Somebody wants it to end: a run that waits is withdrawn, one under way finishes its current item first (G25). */
export function askStop(state: WorkerState, jobId: string, context: Context): Turn & { readonly answer: JobStopAsked } {
  const { run } = state;
  if (run?.record.jobId === jobId) {
    const stopping = { ...run, stop: run.stop ?? "asked" } as const;
    const answer = { kind: "stopping", runId: run.record.runId } as const;
    return { state: { ...state, run: stopping }, records: [], lines: [], answer };
  }
  const waiting = state.queue.find((record) => record.jobId === jobId);
  if (waiting === undefined) return { ...unchanged(state), answer: { kind: "idle" } };
  const queue = state.queue.filter((record) => record !== waiting);
  const records = [ended(waiting, "stopped", WHY.asked, context.nowMs)];
  return { state: { ...state, queue }, records, lines: [], answer: { kind: "withdrawn", runId: waiting.runId } };
}

/** What to do now. A call that it asks for is under way in the new state. */
export function advance(state: WorkerState, context: Context): Turn & { readonly step: Step } {
  const { nowMs } = context;
  if (state.run !== null) {
    const { run } = state;
    if (run.stop !== null && (run.phase === "ready" || (run.phase === "waiting" && run.stop !== "asked"))) {
      const turn = finish(state, run, "stopped", WHY[run.stop], context);
      return merged(turn, advance(turn.state, context));
    }
    if (run.phase === "waiting" && nowMs < run.notBeforeMs)
      return { ...unchanged(state), step: { kind: "idle", untilMs: run.notBeforeMs } };
    const calling: ActiveRun = { ...run, phase: "calling", attempt: run.attempt + 1 };
    return { ...unchanged({ ...state, run: calling }), step: { kind: "call", run: calling } };
  }
  const queued = enqueueDue(state, context);
  const [first, ...queue] = queued.state.queue;
  if (first === undefined || !state.active) {
    const due = state.active ? queued.state.jobs.flatMap((job) => job.nextDueMs ?? []) : [];
    return { ...queued, step: { kind: "idle", untilMs: due.length === 0 ? null : Math.min(...due) } };
  }
  const begun = begin({ ...queued.state, queue }, first, context);
  return merged(queued, merged(begun, advance(begun.state, context)));
}

function merged(first: Turn, second: Turn & { readonly step: Step }): Turn & { readonly step: Step } {
  return { ...second, records: [...first.records, ...second.records], lines: [...first.lines, ...second.lines] };
}

/** Jobs that are due wait in line, the longest due first. One that waits or runs is left due: it comes once more when it is done (G22). */
function enqueueDue(state: WorkerState, context: Context): Turn {
  const { nowMs } = context;
  if (!state.active) return unchanged(state);
  const isDue = ({ definition, nextDueMs }: JobState): boolean =>
    nextDueMs !== null && nextDueMs <= nowMs && openRunOf(state, definition.id) === null;
  const due = state.jobs
    .filter(isDue)
    .toSorted(
      (a, b) =>
        (a.nextDueMs ?? 0) - (b.nextDueMs ?? 0) ||
        a.definition.createdAtMs - b.definition.createdAtMs ||
        (a.definition.id < b.definition.id ? -1 : 1),
    );
  if (due.length === 0) return unchanged(state);
  const records = due.map(({ definition }) => newRun(state, definition, "schedule", context));
  const jobs = state.jobs.map((job) =>
    isDue(job) ? { ...job, nextDueMs: nextDue(job.definition.schedule, job.definition.createdAtMs, nowMs) } : job,
  );
  return { state: { ...state, jobs, queue: [...state.queue, ...records] }, records, lines: [] };
}

function newRun(
  state: WorkerState,
  definition: JobDefinition,
  trigger: RunRecord["trigger"],
  { nowMs, newId }: Context,
): RunRecord {
  return {
    runId: newId("run"),
    jobId: definition.id,
    job: definition.name,
    worker: state.worker,
    version: 1,
    trigger,
    state: "queued",
    queuedAtMs: nowMs,
    startedAtMs: null,
    endedAtMs: null,
    sinceMs: null,
    items: 0,
    records: 0,
    errors: 0,
    retries: 0,
    reason: null,
  };
}

function begin(state: WorkerState, queued: RunRecord, context: Context): Turn {
  const job = state.jobs.find(({ definition }) => definition.id === queued.jobId);
  if (job === undefined) throw new Error("a run waits for a job that the worker does not have");
  const { definition } = job;
  const record = changed(queued, {
    state: "running",
    startedAtMs: context.nowMs,
    sinceMs: definition.cursor.atMs,
  });
  const run: ActiveRun = {
    record,
    definition,
    phase: "ready",
    notBeforeMs: 0,
    attempt: 0,
    page: null,
    interruptions: 0,
    stop: null,
    lines: 0,
  };
  const turn = { state: { ...state, run }, records: [record], lines: [] };
  return say(turn, "info", `run began (${record.trigger})`, context);
}

/** The call of the current item is over. */
export function answered(state: WorkerState, outcome: CallOutcome, context: Context): Turn {
  const { run } = state;
  if (run?.phase !== "calling") throw new Error("an answer that nobody waits for");
  const { record, definition } = run;
  const item = record.items + 1;
  if (outcome.kind === "done") {
    const counted = changed(record, { items: item, records: record.records + outcome.records });
    const next: ActiveRun = { ...run, record: counted, phase: "ready", attempt: 0, page: outcome.next };
    const turn = say(
      { state: { ...state, run: next }, records: [counted], lines: [] },
      "debug",
      `item ${item}: ${outcome.note}`,
      context,
    );
    if (outcome.next === null) return then(turn, (now, current) => finish(now, current, "succeeded", null, context));
    if (item >= definition.maxItems) {
      const reason = `there is more to do after ${item} items, the most that the job may have`;
      return then(turn, (now, current) => finish(now, current, "failed", reason, context));
    }
    return turn;
  }
  const failed = changed(record, { errors: record.errors + 1 });
  const ending = run.stop !== null && run.stop !== "asked";
  if (outcome.kind === "busy" && definition.retry && run.attempt < JOB_ATTEMPTS && !ending) {
    const waitMs = retryDelayMs(run.attempt, outcome.retryAfterMs);
    const retried = changed(failed, { retries: record.retries + 1 });
    const waiting: ActiveRun = { ...run, record: retried, phase: "waiting", notBeforeMs: context.nowMs + waitMs };
    return say(
      { state: { ...state, run: waiting }, records: [retried], lines: [] },
      "warn",
      `item ${item}: ${outcome.reason}; attempt ${run.attempt + 1} of ${JOB_ATTEMPTS} in ${waitMs} ms`,
      context,
    );
  }
  return finish(state, { ...run, record: failed }, "failed", `item ${item}: ${outcome.reason}`, context);
}

/** Wait before the attempt after `attempt` (G27). What the answer asks for counts where it is longer, up to the same cap. */
export function retryDelayMs(attempt: number, retryAfterMs: number | null): number {
  return Math.min(JOB_RETRY_MAX_MS, Math.max(JOB_RETRY_FIRST_MS * 2 ** (attempt - 1), retryAfterMs ?? 0));
}

const SAFE_TO_REPEAT: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE"]);

/** A call was under way when the worker was cut off: nobody knows what came of it. It is repeated where that does no harm (D14). */
export function interrupted(state: WorkerState, context: Context): Turn {
  const { run } = state;
  if (run?.phase !== "calling") return unchanged(state);
  const { definition, record } = run;
  const item = record.items + 1;
  const failed = changed(record, { errors: record.errors + 1 });
  const cut: ActiveRun = { ...run, record: failed, interruptions: run.interruptions + 1 };
  if (!definition.repeatable && !SAFE_TO_REPEAT.has(definition.action.method)) {
    const reason = `the worker was cut off during item ${item}, and a ${definition.action.method} may not be sent twice`;
    return finish(state, cut, "failed", reason, context);
  }
  if (cut.interruptions > JOB_INTERRUPTIONS)
    return finish(state, cut, "failed", `the worker was cut off ${cut.interruptions} times`, context);
  const repeated = changed(failed, { retries: record.retries + 1 });
  const again: ActiveRun = { ...cut, record: repeated, phase: "ready", attempt: run.attempt - 1 };
  return say(
    { state: { ...state, run: again }, records: [repeated], lines: [] },
    "warn",
    `the worker was cut off during item ${item}; it is repeated`,
    context,
  );
}

function finish(
  state: WorkerState,
  run: ActiveRun,
  how: "succeeded" | "failed" | "stopped",
  reason: string | null,
  context: Context,
): Turn {
  const record = ended(run.record, how, reason, context.nowMs);
  const told = say(
    { state: { ...state, run: { ...run, record } }, records: [record], lines: [] },
    how === "failed" ? "error" : "info",
    reason === null ? `run ${how}: items ${record.items}, records ${record.records}` : `run ${how}: ${reason}`,
    context,
  );
  const jobs = how === "succeeded" ? state.jobs.map((job) => withCursor(job, run)) : state.jobs;
  return { ...told, state: { ...told.state, jobs, run: null } };
}

/** The next run asks for all since this one began; one that failed or was stopped leaves the cursor where it was (G29). */
function withCursor(job: JobState, { definition, record }: ActiveRun): JobState {
  if (job.definition.id !== definition.id || job.definition.cursor.epoch !== definition.cursor.epoch) return job;
  return { ...job, definition: { ...job.definition, cursor: { ...definition.cursor, atMs: record.startedAtMs } } };
}

/** How far it has come, whoever says so: a reset beats everything before it. */
export function later(a: JobCursor, b: JobCursor): JobCursor {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch ? a : b;
  return (a.atMs ?? 0) >= (b.atMs ?? 0) ? a : b;
}

function then(turn: Turn, next: (state: WorkerState, run: ActiveRun) => Turn): Turn {
  const { run } = turn.state;
  if (run === null) return turn;
  const second = next(turn.state, run);
  return { ...second, records: second.records, lines: [...turn.lines, ...second.lines] };
}

/** A line of the run's log. A run that has said too much says only its warnings and its end. */
function say(turn: Turn, level: JobLogLevel, message: string, { nowMs, newId }: Context): Turn {
  const { state } = turn;
  const { run } = state;
  if (run === null || RANK[level] < RANK[state.logLevel]) return turn;
  if (run.lines >= JOB_LINES_PER_RUN && RANK[level] < RANK.error && run.record.endedAtMs === null) return turn;
  const { runId, jobId } = run.record;
  const line: LogLine = { id: newId("evt"), atMs: nowMs, level, jobId, runId, message };
  return { ...turn, state: { ...state, run: { ...run, lines: run.lines + 1 } }, lines: [...turn.lines, line] };
}

const changed = (record: RunRecord, change: Partial<RunRecord>): RunRecord => ({
  ...record,
  ...change,
  version: record.version + 1,
});

const ended = (
  record: RunRecord,
  state: "succeeded" | "failed" | "stopped",
  reason: string | null,
  nowMs: number,
): RunRecord => changed(record, { state, reason, endedAtMs: nowMs });

const openRunOf = ({ run, queue }: WorkerState, jobId: string): string | null => {
  if (run?.record.jobId === jobId) return run.record.runId;
  return queue.find((record) => record.jobId === jobId)?.runId ?? null;
};
