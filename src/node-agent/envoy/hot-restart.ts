import { execFile } from "node:child_process";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { err, ok, type Result } from "../../shared/result.ts";
import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import type { SlotPaths } from "../paths.ts";
import { endRecorded, isAlive, startRecorded, type Command, type ProcessRecord } from "../services/recorded-process.ts";
import type { Candidate, EnvoyFeed } from "../xds/feed.ts";
import { askServer } from "./admin.ts";

export interface TakeOver {
  readonly feed: EnvoyFeed;
  /** Of the new Envoy. Its bootstrap is there. */
  readonly slot: SlotPaths;
  readonly command: Command;
  /** Its turn. */
  readonly epoch: number;
  readonly adminPort: number;
  /** The new one is loaded and is told to take over when this resolves. */
  readonly beforeOpening: () => Promise<void>;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/**
 * Starts an Envoy beside the one that runs, has it take all tenants, and lets it take over: from then on it accepts all connections (it gets
 * the open sockets from the other, so none is refused), and the other finishes what it has. An error: the new one is gone, the old one goes on.
 */
export async function takeOver(options: TakeOver): Promise<Result<{ readonly pid: number }, string>> {
  const { feed, slot, log, signal } = options;
  const candidate = await feed.openCandidate(slot.xdsSocket);
  const started = await startRecorded(slot.dir, options.command, () => undefined, log);
  const ready = started === null ? err(ENDED) : await isReady(candidate, started, signal);
  if (started === null || !ready.ok) return giveUp(ready, candidate, slot);
  await options.beforeOpening();
  candidate.openGate();
  const live = await isLive(options, started);
  if (!live.ok) return giveUp(live, candidate, slot);
  await candidate.promote();
  return ok({ pid: started.pid });
}

const ENDED = "it ended at once, see its output.log";

async function giveUp<T>(
  failed: Result<T, string>,
  candidate: Candidate,
  slot: SlotPaths,
): Promise<Result<never, string>> {
  await endRecorded(slot.dir);
  await candidate.close();
  return err(failed.ok ? ENDED : failed.error);
}

/** Waits until it has taken all tenants. */
async function isReady(
  candidate: Candidate,
  started: ProcessRecord,
  signal: AbortSignal,
): Promise<Result<null, string>> {
  const deadlineMs = Date.now() + LIMITS.envoyLoadMs;
  while (!candidate.loaded()) {
    if (signal.aborted) return err("the agent stops");
    if (!isAlive(started)) return err(ENDED);
    if (Date.now() > deadlineMs) return err("it did not take the tenants in time");
    await sleep(LIMITS.envoyLookMs);
  }
  const [first, ...others] = candidate.refusals();
  if (first === undefined) return ok(null);
  const more = others.length === 0 ? "" : ` (and ${others.length} tenants more)`;
  return err(`it refuses what the one that runs serves, tenant ${first.tenantId}${more}: ${first.reason}`);
}

async function isLive({ adminPort, epoch }: TakeOver, started: ProcessRecord): Promise<Result<null, string>> {
  const deadlineMs = Date.now() + LIMITS.envoyLiveMs;
  for (;;) {
    const info = await askServer(adminPort);
    if (info?.live === true && info.epoch === epoch) return ok(null);
    if (!isAlive(started)) return err("it ended before it took over, see its output.log");
    if (Date.now() > deadlineMs) return err("it did not take over in time");
    await sleep(LIMITS.envoyLookMs);
  }
}

/** Two Envoys can take over from each other when they say the same here. `binary` may be `/proc/<pid>/exe`, of a program that was replaced. */
export async function hotRestartVersion(binary: string): Promise<Result<string, string>> {
  try {
    const { stdout } = await promisify(execFile)(binary, ["--hot-restart-version"], { timeout: LIMITS.envoyLiveMs });
    return ok(stdout.trim());
  } catch (error) {
    return err(
      `${binary} can't be run: ${error instanceof Error && "code" in error ? String(error.code) : "it failed"}`,
    );
  }
}

/** Whether anybody accepts connections at Envoy's own socket for probes. */
export const accepts = (socketPath: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
