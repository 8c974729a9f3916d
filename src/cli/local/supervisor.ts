import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../../shared/log.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import {
  FAILURE_LOG_LINES,
  LOG_CHECK_INTERVAL_MS,
  PART_READY_TIMEOUT_MS,
  PART_STOP_TIMEOUT_MS,
  PROCESS_POLL_MS,
  READY_POLL_MS,
} from "../limits.ts";
import { type Ledger, endProcesses, leftovers, signal } from "./ledger.ts";
import { lastLines, logPath, trimLog } from "./log-files.ts";
import type { PartSpec, PartState, PartStatus } from "./part.ts";
import { COMPILE_CACHE } from "./paths.ts";
import { findProcess, listProcesses } from "./process-table.ts";
import { FRESH_HISTORY, type RestartHistory, afterDeath } from "./restart-policy.ts";

export interface Supervisor {
  /** Starts a part and answers when it is ready for the first time. From then on it is restarted whenever it dies. */
  start(spec: PartSpec): Promise<void>;
  /** Records a process that a part started and watches itself (workerd), so that it is shown and found after a kill. */
  noteSubprocess(part: string, name: string, pid: number): void;
  status(): PartStatus[];
  /** Ends all parts, highest tier first. Bounded: what does not stop in time is killed. */
  stopAll(): Promise<void>;
}

interface SupervisorOptions {
  readonly logs: string;
  readonly ledger: Ledger;
  readonly log: Logger;
  /** Called after every change of a part's state. */
  readonly changed: () => void;
  readonly now?: () => number;
  readonly readyTimeoutMs?: number;
  readonly stopTimeoutMs?: number;
}

interface Part {
  readonly spec: PartSpec;
  child: ChildProcess | null;
  state: PartState;
  sinceMs: number;
  spawnedAtMs: number;
  restarts: number;
  history: RestartHistory;
  timer: NodeJS.Timeout | null;
  /** Raised by every spawn, so that a readiness poll of an earlier life ends. */
  life: number;
}

interface Subprocess {
  readonly part: string;
  pid: number;
  restarts: number;
  sinceMs: number;
}

/** Every part gets these and what its spec adds; nothing else of the caller's environment (which may hold tokens or proxies) gets in. */
const PASSED_ENVIRONMENT = ["PATH", "HOME", "TMPDIR", "USER", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"];

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { logs, ledger, log, changed, now = () => Date.now() } = options;
  const { readyTimeoutMs = PART_READY_TIMEOUT_MS, stopTimeoutMs = PART_STOP_TIMEOUT_MS } = options;
  const parts = new Map<string, Part>();
  const subprocesses = new Map<string, Subprocess>();
  let stopping = false;
  const trimmer = setInterval(() => {
    for (const name of parts.keys()) trimLog(logPath(logs, name));
  }, LOG_CHECK_INTERVAL_MS);
  trimmer.unref();

  const enter = (part: Part, state: PartState): void => {
    if (part.state === state) return;
    part.state = state;
    part.sinceMs = now();
    changed();
  };

  const launch = (part: Part): void => {
    const { spec } = part;
    part.life++;
    part.spawnedAtMs = now();
    const output = openSync(logPath(logs, spec.name), "a", 0o600);
    let child: ChildProcess;
    try {
      child = spawn(spec.command, [...spec.args], {
        cwd: spec.cwd,
        env: { ...passedEnvironment(), NODE_COMPILE_CACHE: COMPILE_CACHE, ...spec.env },
        // A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops the parts in order.
        detached: true,
        stdio: spec.onMessage === undefined ? ["ignore", output, output] : ["ignore", output, output, "ipc"],
        ...spec.user,
      });
    } finally {
      closeSync(output);
    }
    part.child = child;
    if (child.pid !== undefined) ledger.add(spec.name, child.pid);
    if (spec.onMessage !== undefined) child.on("message", spec.onMessage);
    let over = false;
    const end = (how: string): void => {
      if (over) return;
      over = true;
      died(part, child, how);
    };
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signalName) => end(signalName ?? `exit code ${code}`));
    void watchReady(part, part.life);
  };

  const watchReady = async (part: Part, life: number): Promise<void> => {
    const current = () => part.life === life && part.child !== null && !stopping;
    while (current()) {
      if (await part.spec.ready().catch(() => false)) {
        // Looked at again, as it may have died while it was asked.
        if (current()) enter(part, "running");
        return;
      }
      await delay(READY_POLL_MS);
    }
  };

  const died = (part: Part, child: ChildProcess, how: string): void => {
    const { spec } = part;
    part.child = null;
    if (child.pid !== undefined) {
      if (spec.groupDiesWithIt) signal(-child.pid, "SIGKILL");
      ledger.remove(child.pid);
    }
    if (stopping) {
      enter(part, "stopped");
      return;
    }
    const decision = afterDeath(part.history, now() - part.spawnedAtMs);
    part.history = decision.history;
    part.restarts++;
    log.warn("part ended, restarting it", {
      subject: spec.name,
      how,
      delayMs: decision.delayMs,
      restarts: part.restarts,
    });
    if (decision.crashLoop) {
      log.error("part keeps ending", {
        subject: spec.name,
        lastLines: lastLines(logPath(logs, spec.name), FAILURE_LOG_LINES).join("\n"),
      });
    }
    enter(part, decision.crashLoop ? "crash-loop" : "restarting");
    changed();
    part.timer = setTimeout(() => {
      part.timer = null;
      launch(part);
      if (part.state !== "crash-loop") enter(part, "starting");
      changed();
    }, decision.delayMs);
  };

  const stopPart = async (part: Part): Promise<void> => {
    if (part.timer !== null) clearTimeout(part.timer);
    part.timer = null;
    const { child, spec } = part;
    if (child?.pid === undefined) {
      enter(part, "stopped");
      return;
    }
    const { pid } = child;
    // Whoever it started and does not end itself goes with it, also out of its group.
    const self = findProcess(pid);
    const recorded = self === null ? [] : [{ part: spec.name, ...self }];
    const offspring = leftovers(recorded, listProcesses(), []).filter((process) => process.pid !== pid);
    enter(part, "stopping");
    signal(pid, spec.stopSignal ?? "SIGTERM");
    const end = Date.now() + stopTimeoutMs;
    while (part.child !== null && Date.now() < end) await delay(PROCESS_POLL_MS);
    if (part.child !== null) {
      log.warn("part did not stop in time, killing it", { subject: spec.name });
      signal(-pid, "SIGKILL");
      while (part.child !== null) await delay(PROCESS_POLL_MS);
    }
    signal(-pid, "SIGKILL");
    await endProcesses(offspring, 0);
  };

  return {
    async start(spec) {
      if (parts.has(spec.name)) throw new Error(`part ${spec.name} is there already`);
      // A start that failed elsewhere is being undone: nothing may begin behind its back.
      if (stopping) throw new CliError(EXIT.interrupted, "stopped before it was ready");
      const part: Part = {
        spec,
        child: null,
        state: "starting",
        sinceMs: now(),
        spawnedAtMs: now(),
        restarts: 0,
        history: FRESH_HISTORY,
        timer: null,
        life: 0,
      };
      parts.set(spec.name, part);
      launch(part);
      changed();
      const end = Date.now() + readyTimeoutMs;
      while (part.state !== "running") {
        if (stopping) throw new CliError(EXIT.interrupted, "stopped before it was ready");
        if (part.state === "crash-loop" || Date.now() > end) throw notReady(spec.name, part.state, logs);
        await delay(PROCESS_POLL_MS);
      }
    },
    noteSubprocess(part, name, pid) {
      const before = subprocesses.get(name);
      if (before?.pid === pid) return;
      if (before !== undefined) {
        ledger.remove(before.pid);
        log.warn("part restarted its own process", { subject: part, process: name, pid });
      }
      subprocesses.set(name, { part, pid, restarts: before === undefined ? 0 : before.restarts + 1, sinceMs: now() });
      ledger.add(name, pid);
      changed();
    },
    status: () =>
      [...parts.values()].flatMap((part) => [
        {
          name: part.spec.name,
          pid: part.child?.pid ?? null,
          state: part.state,
          restarts: part.restarts,
          since: new Date(part.sinceMs).toISOString(),
        },
        ...[...subprocesses]
          .filter(([, process]) => process.part === part.spec.name)
          .map(([name, process]) => ({
            name,
            pid: process.pid,
            state: part.state,
            restarts: process.restarts,
            since: new Date(process.sinceMs).toISOString(),
          })),
      ]),
    async stopAll() {
      stopping = true;
      clearInterval(trimmer);
      const tiers = [...new Set([...parts.values()].map((part) => part.spec.tier))].sort((a, b) => b - a);
      for (const tier of tiers) {
        await Promise.all([...parts.values()].filter((part) => part.spec.tier === tier).map(stopPart));
      }
      subprocesses.clear();
      ledger.clear();
      changed();
    },
  };
}

function passedEnvironment(): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of PASSED_ENVIRONMENT) {
    const value = process.env[name];
    if (value !== undefined) passed[name] = value;
  }
  return passed;
}

function notReady(name: string, state: PartState, logs: string): CliError {
  const lines = lastLines(logPath(logs, name), FAILURE_LOG_LINES);
  const why = state === "crash-loop" ? "keeps ending" : "did not become ready in time";
  return new CliError(
    EXIT.failed,
    `${name} ${why}. Its last log lines:\n${lines.map((line) => `    ${line}`).join("\n")}`,
    `The whole log: npx causeway logs ${name}`,
  );
}
