import { readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Logger } from "../../shared/log.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import type { Clock } from "../../shared/clock.ts";
import type { AgentConfig } from "../config.ts";
import { LIMITS } from "../limits.ts";
import type { AgentPaths, Slot } from "../paths.ts";
import { keepProcess, type KeptProcess } from "../services/kept-process.ts";
import { endRecorded, runningIn } from "../services/recorded-process.ts";
import type { EnvoyFeed } from "../xds/feed.ts";
import { askServer } from "./admin.ts";
import { commandFor, processOf, readCommand } from "./command.ts";
import { replaceIfChanged } from "./files.ts";
import { accepts, hotRestartVersion, takeOver } from "./hot-restart.ts";
import { newBaseId, otherSlot, saveSlots, type Slots } from "./slots.ts";

/** The node's Envoy: started, kept running, and replaced by another without a cut. */
export interface EnvoyRunner {
  pid(): number | null;
  /** Of an Envoy that was replaced and still finishes its requests. */
  drainingPid(): number | null;
  /** Another process, of this program, in place of the one that runs. On failure the one that runs stays. */
  upgrade(binary: string): Promise<Result<Upgraded, string>>;
  stop(): Promise<void>;
  /** Stops looking after it; it goes on running. */
  leave(): Promise<void>;
}

export interface Upgraded {
  readonly pid: number;
  readonly version: string;
  readonly drainSeconds: number;
}

export interface RunnerOptions {
  readonly config: AgentConfig["envoy"];
  readonly binary: string;
  readonly paths: AgentPaths;
  readonly slots: Slots;
  /** Bootstrap of the Envoy in a slot. */
  readonly bootstrap: (slot: Slot) => string;
  /** Its socket for the leading slot is open. */
  readonly feed: EnvoyFeed;
  readonly random: () => number;
  readonly now: Clock;
  readonly log: Logger;
}

/** Adopts the Envoy that runs, if any, and replaces it when the configuration wants another. */
export async function runEnvoy(options: RunnerOptions): Promise<EnvoyRunner> {
  const { config, paths, feed, random, now, log } = options;
  let slots = options.slots;
  let command = commandFor(options.binary, config);
  let underWay: Promise<unknown> | null = null;
  const over = new AbortController();

  const save = async (change: Partial<Slots>): Promise<void> => {
    slots = { ...slots, ...change };
    await saveSlots(paths, slots);
  };
  const slotOf = (slot: Slot) => paths.slots[slot];
  const write = async (slot: Slot): Promise<void> => {
    await replaceIfChanged(slotOf(slot).bootstrap, options.bootstrap(slot), 0o600);
    await replaceIfChanged(slotOf(slot).command, JSON.stringify(command), 0o600);
  };

  /** Keeps the slot's Envoy running; one that has to be started anew begins a new line of processes. */
  const keep = (slot: Slot): Promise<KeptProcess> =>
    keepProcess({
      dir: slotOf(slot).dir,
      async command() {
        await write(slot);
        await save({ baseId: newBaseId(random), epoch: 0 });
        return processOf(command, slotOf(slot), slots);
      },
      log: log.with({ process: "envoy" }),
    });

  const replace = async (binary: string): Promise<Result<Upgraded, string>> => {
    const lead = runningIn(slotOf(slots.lead).dir);
    if (lead === null) return err("no Envoy runs; it is being started");
    const slot = otherSlot(slots.lead);
    const draining = runningIn(slotOf(slot).dir);
    if (draining !== null) return err(`the Envoy before still finishes its requests (pid ${draining.pid})`);
    const wanted = commandFor(binary, config);
    const running = await readCommand(slotOf(slots.lead).command);
    if (!wanted.hotRestart || running?.hotRestart !== true) return err("this Envoy can't be replaced without a cut");
    const [old, next] = [await hotRestartVersion(`/proc/${lead.pid}/exe`), await hotRestartVersion(binary)];
    if (!next.ok) return next;
    if (!old.ok || old.value !== next.value) return err(`${binary} can't take over from the Envoy that runs`);
    const before = command;
    command = wanted;
    await write(slot);
    await save({ next: { opened: false } });
    log.info("another envoy is started to take over", { binary });
    const epoch = slots.epoch + 1;
    const taken = await takeOver({
      feed,
      slot: slotOf(slot),
      command: processOf(wanted, slotOf(slot), { baseId: slots.baseId, epoch }),
      epoch,
      adminPort: config.adminPort,
      async beforeOpening() {
        kept.leave();
        await save({ next: { opened: true }, drainEndsAtMs: now() + config.drainSeconds * 1000 });
      },
      signal: over.signal,
      log: log.with({ process: "envoy" }),
    });
    if (!taken.ok) {
      command = before;
      await goOn();
      return taken;
    }
    await save({ lead: slot, epoch, next: null });
    kept = await keep(slot);
    const version = (await askServer(config.adminPort))?.version ?? "";
    log.info("another envoy has taken over", { pid: taken.value.pid, version, drainSeconds: config.drainSeconds });
    return ok({ pid: taken.value.pid, version, drainSeconds: config.drainSeconds });
  };

  /** After a failure: the Envoy that led goes on, unless it had let go of its sockets already. */
  const goOn = async (): Promise<void> => {
    const hadOpened = slots.next?.opened === true;
    await save({ next: null, drainEndsAtMs: null });
    if (!hadOpened) return;
    if (!(await accepts(paths.envoyPaths.probeSocket))) await endRecorded(slotOf(slots.lead).dir);
    if (!over.signal.aborted) kept = await keep(slots.lead);
  };

  /** One at a time. */
  const upgrade = async (binary: string): Promise<Result<Upgraded, string>> => {
    if (underWay !== null) return err("Envoy is being replaced already");
    const mine = replace(binary);
    underWay = mine;
    try {
      return await mine;
    } finally {
      underWay = null;
    }
  };

  /** The old one is ended by the new one when its time is over; by the agent if there is none to do so. */
  const endOverdue = async (): Promise<void> => {
    if (slots.drainEndsAtMs === null || slots.next !== null) return;
    const { dir } = slotOf(otherSlot(slots.lead));
    const isGone = runningIn(dir) === null;
    if (!isGone && now() < slots.drainEndsAtMs + LIMITS.stopGraceMs) return;
    await endRecorded(dir);
    await save({ drainEndsAtMs: null });
    log.info("the envoy before is gone");
  };

  const lead = slotOf(slots.lead);
  const running = runningIn(lead.dir);
  const before = running === null ? null : await readCommand(lead.command);
  const isOther =
    running !== null &&
    (JSON.stringify(before) !== JSON.stringify(command) ||
      (await readFile(lead.bootstrap, "utf8").catch(() => null)) !== options.bootstrap(slots.lead) ||
      programIsGone(running.pid));
  // Without hot restart there is no other way than a cut.
  if (isOther && before?.hotRestart !== true) await endRecorded(lead.dir);
  let kept = await keep(slots.lead);
  let isDue = isOther && before?.hotRestart === true;

  const look = async (): Promise<void> => {
    if (underWay !== null) return;
    await endOverdue();
    if (!isDue || !feed.ready() || slots.drainEndsAtMs !== null) return;
    isDue = false;
    const done = await upgrade(options.binary);
    if (!done.ok) log.error("envoy is not replaced, the one that runs stays", { reason: done.error });
  };
  const timer = setInterval(() => {
    look().catch((error: unknown) => log.error("envoy could not be looked after", { error: String(error) }));
  }, LIMITS.watchIntervalMs);
  timer.unref();

  const rest = async (): Promise<void> => {
    over.abort();
    clearInterval(timer);
    await underWay;
  };
  return {
    pid: () => kept.pid(),
    drainingPid: () =>
      slots.drainEndsAtMs === null ? null : (runningIn(slotOf(otherSlot(slots.lead)).dir)?.pid ?? null),
    upgrade,
    async stop() {
      await rest();
      await endRecorded(slotOf(otherSlot(slots.lead)).dir);
      await kept.stop();
    },
    async leave() {
      await rest();
      kept.leave();
    },
  };
}

/** Whether the file that the process was started from was replaced since (Linux says so). */
function programIsGone(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`).endsWith(" (deleted)");
  } catch {
    return false;
  }
}
