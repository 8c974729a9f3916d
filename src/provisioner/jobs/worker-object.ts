import { DurableObject } from "cloudflare:workers";
import { importSealingKey, open, seal } from "../../db/secrets.ts";
import {
  jobSet,
  jobWorkerName,
  type JobCursor,
  type JobRunAsked,
  type JobSet,
  type JobStopAsked,
  type JobWorkerRpc,
  type JobWorkerStatus,
  type TenantCall,
  type TenantCallsRpc,
} from "../../protocol/jobs.ts";
import { systemClock } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import { createLogger, type Logger } from "../../shared/log.ts";
import { createDnsLookup } from "../dns-over-https.ts";
import {
  JOB_ALARM_MS,
  JOB_RECORD_EVERY_MS,
  JOB_RECORD_RETRY_MAX_MS,
  JOB_RECORD_RETRY_MS,
  JOB_TELL_WAIT_MS,
  JOB_WATCHDOG_MS,
} from "../limits.ts";
import type { AccessToken } from "./access-token.ts";
import { callItem, type CallPorts } from "./call-item.ts";
import { advance, answered, applySet, askRun, askStop, interrupted, release, type Turn } from "./machine.ts";
import { createPublicCall } from "./public-call.ts";
import { recordsOf } from "./job-records.ts";
import type { ActiveRun } from "./state.ts";
import { openWorkerStore, type WorkerStore } from "./worker-store.ts";

export interface JobWorkerEnv {
  /** 32 random bytes, base64. */
  readonly CREDENTIAL_KEY: string;
  /** Targets and services of tenants. */
  readonly EDGE_CALLS: TenantCallsRpc;
  /** Resolver for DNS over HTTPS; empty: no name can be checked, neither a custom host nor a webhook's. */
  readonly DNS_RESOLVER_URL: string;
  /** Names and networks, comma-separated, that jobs may call though they are private; empty: none. */
  readonly WEBHOOK_ALLOWED_HOSTS: string;
}

/**
 * One worker of a tenant: the platform runs this object once, wherever its requests come from, and that is what makes a job run at one place
 * only (G24). Host of the state machine: it stores every turn before it acts on it. All work is done in alarms; there is one as long as
 * something is to come, also while a call is under way, for the case that this object does not live to see its answer.
 */
export class JobWorker extends DurableObject<JobWorkerEnv> implements JobWorkerRpc {
  readonly #store: WorkerStore;
  readonly #log: Logger;
  readonly #tokens = new Map<string, AccessToken>();
  readonly #callPublic: CallPorts["callPublic"];
  /** The loop that makes the calls; a second one never begins beside it. */
  #working: Promise<void> | null = null;
  #telling: Promise<void> | null = null;
  #toldAtMs = 0;
  #tellFailures = 0;

  constructor(state: DurableObjectState, env: JobWorkerEnv) {
    super(state, env);
    const [tenantId = "", worker = ""] = (state.id.name ?? "").split("/");
    this.#store = openWorkerStore(state.storage, tenantId, Number(worker));
    this.#log = createLogger("job-worker", (line) => console.log(line), { fields: { tenant: tenantId, worker } });
    this.#callPublic = createPublicCall(
      createDnsLookup(env.DNS_RESOLVER_URL, (url, init) => fetch(url, init)),
      (url, init) => fetch(url, init),
      env.WEBHOOK_ALLOWED_HOSTS.split(",").flatMap((one) => one.trim() || []),
    );
  }

  // ---- control

  async put(input: JobSet): Promise<{ applied: boolean; revision: number }> {
    const set = jobSet.parse(input);
    const { name } = this.ctx.id;
    if (name !== undefined && name !== jobWorkerName(set.tenantId, set.worker))
      throw new Error("the set is of another worker");
    const before = this.#store.state().revision;
    // Access tokens may be of an older secret.
    this.#tokens.clear();
    this.#take(applySet(this.#store.state(), set, this.#context()));
    await this.#wakeSoon();
    return { applied: set.revision >= before, revision: this.#store.state().revision };
  }

  async release(
    tenantId: string,
    revision: number,
    keep: readonly string[],
  ): Promise<{ busy: string[]; cursors: Record<string, JobCursor> }> {
    if (tenantId !== this.#store.state().tenantId) throw new Error("the jobs are another tenant's");
    const before = this.#store.state();
    const cursors = Object.fromEntries(before.jobs.map(({ definition: { id, cursor } }) => [id, cursor]));
    const turn = release(before, revision, keep, this.#context());
    const { run } = turn.state;
    // A worker that never had anything to do stays without a trace.
    if (before.revision > 0) {
      this.#take(turn);
      await this.#wakeSoon();
    }
    return { busy: run === null || keep.includes(run.record.jobId) ? [] : [run.record.jobId], cursors };
  }

  async run(jobId: string): Promise<JobRunAsked> {
    const turn = askRun(this.#store.state(), jobId, this.#context());
    if (turn.answer.kind === "queued") {
      this.#take(turn);
      await this.#wakeSoon();
    }
    return turn.answer;
  }

  async stop(jobId: string): Promise<JobStopAsked> {
    const turn = askStop(this.#store.state(), jobId, this.#context());
    if (turn.answer.kind !== "idle") {
      this.#take(turn);
      await this.#wakeSoon();
    }
    return turn.answer;
  }

  async status(): Promise<JobWorkerStatus> {
    const { run, queue, jobs } = this.#store.state();
    return {
      running:
        run === null
          ? null
          : {
              jobId: run.record.jobId,
              runId: run.record.runId,
              item: run.record.items + 1,
              stopping: run.stop !== null,
            },
      queued: queue.map(({ jobId, runId }) => ({ jobId, runId })),
      nextDueMs: Object.fromEntries(jobs.map(({ definition: { id }, nextDueMs }) => [id, nextDueMs])),
    };
  }

  async seal(context: string, secret: string): Promise<string> {
    return await seal(await importSealingKey(this.env.CREDENTIAL_KEY), secret, context);
  }

  async wake(): Promise<void> {
    await this.#wakeSoon();
  }

  // ---- work

  override async alarm(): Promise<void> {
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
    await this.#working;
  }

  async #work(): Promise<void> {
    const untilMs = systemClock() + JOB_ALARM_MS;
    // Nobody is at it in this object: whoever was is gone.
    this.#take(interrupted(this.#store.state(), this.#context()));
    for (;;) {
      const turn = advance(this.#store.state(), this.#context());
      this.#take(turn);
      if (turn.step.kind === "idle") {
        // The end of a run is told at once, and asks for the next one: whoever reads the record may want the job's new cursor.
        await Promise.race([this.#tell(true), sleep(JOB_TELL_WAIT_MS)]);
        // Something may have come while it was told.
        if (this.#hasNews(turn.step.untilMs)) continue;
        await this.#alarmAt(turn.step.untilMs);
        return;
      }
      const { timeoutMs } = turn.step.run.definition;
      await this.ctx.storage.setAlarm(systemClock() + timeoutMs + 2 * JOB_WATCHDOG_MS);
      void this.#tell(false);
      const outcome = await callItem(this.#store.state(), turn.step.run, this.#callPorts(turn.step.run));
      this.#take(answered(this.#store.state(), outcome, this.#context()));
      if (systemClock() >= untilMs) {
        await this.ctx.storage.setAlarm(systemClock());
        return;
      }
    }
  }

  #hasNews(untilMs: number | null): boolean {
    const { step } = advance(this.#store.state(), this.#context());
    return step.kind === "call" || step.untilMs !== untilMs;
  }

  #take(turn: Turn): void {
    if (turn.state === this.#store.state() && turn.records.length === 0 && turn.lines.length === 0) return;
    this.#store.save(turn);
  }

  /** When something is due next: a job, a retry, or what the database could not be told. */
  async #alarmAt(untilMs: number | null): Promise<void> {
    const againMs = this.#store.hasUntold() ? systemClock() + this.#tellAgainMs() : null;
    const times = [untilMs, againMs].filter((time) => time !== null);
    if (times.length === 0) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(Math.max(Math.min(...times), systemClock()));
  }

  /** What came is looked at in an alarm. A loop that is under way sees it by itself, and its own alarm is the later one. */
  async #wakeSoon(): Promise<void> {
    if (this.#working === null) await this.ctx.storage.setAlarm(systemClock());
  }

  // ---- calls

  #callPorts({ definition: { timeoutMs } }: ActiveRun): CallPorts {
    return {
      callTenant: (call) => this.#callTenant(call, timeoutMs),
      callPublic: this.#callPublic,
      open: async (sealed, context) => open(await importSealingKey(this.env.CREDENTIAL_KEY), sealed, context),
      tokens: this.#tokens,
      clock: systemClock,
    };
  }

  /** The edge ends it in time; if it does not, this does. */
  async #callTenant(call: TenantCall, timeoutMs: number): ReturnType<CallPorts["callTenant"]> {
    let timer: ReturnType<typeof setTimeout> | null = null;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`no answer within ${timeoutMs / 1_000} s`)),
        timeoutMs + JOB_WATCHDOG_MS,
      );
    });
    try {
      return await Promise.race([this.env.EDGE_CALLS.call(call), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  // ---- records

  /** Tells the database what it does not know yet. `all`: until nothing is left; else not more often than needed. Never rejects. */
  async #tell(all: boolean): Promise<void> {
    if (this.#telling !== null) await this.#telling;
    if (!this.#store.hasUntold()) return;
    const sinceMs = systemClock() - this.#toldAtMs;
    if (sinceMs < (all ? 0 : JOB_RECORD_EVERY_MS) || (this.#tellFailures > 0 && sinceMs < this.#tellAgainMs())) return;
    this.#telling = this.#tellNow(all).finally(() => {
      this.#telling = null;
    });
    await this.#telling;
  }

  async #tellNow(all: boolean): Promise<void> {
    const records = recordsOf(this.ctx);
    try {
      for (let more = true; more; more = all && this.#store.hasUntold()) {
        const untold = this.#store.untold();
        const { tenantId, jobs } = this.#store.state();
        const cursors = jobs.map(({ definition: { id, cursor } }): [string, JobCursor] => [id, cursor]);
        if ((await records.record(tenantId, untold, cursors)) === "gone") this.#store.forgetUntold();
        else this.#store.told(untold);
      }
      this.#tellFailures = 0;
    } catch (error) {
      this.#tellFailures += 1;
      const reason = error instanceof Error ? error.name : "unknown";
      this.#log.warn("runs could not be recorded, they are kept", { error: reason });
    } finally {
      this.#toldAtMs = systemClock();
    }
  }

  #tellAgainMs(): number {
    return Math.min(JOB_RECORD_RETRY_MAX_MS, JOB_RECORD_RETRY_MS * 2 ** Math.max(0, this.#tellFailures - 1));
  }

  #context() {
    return { nowMs: systemClock(), newId: (kind: "run" | "evt") => newId(kind) };
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
