import { setTimeout as delay } from "node:timers/promises";
import { startChild, type Child } from "./children.ts";
import type { CountedProcess, Part } from "./types.ts";

/** systemd's RestartSec by default: before a process that ended by itself is started again. */
const RESTART_MS = 100;

/** A process under a supervisor: it may be killed, and what ends by itself (bore's client when its server is gone) is started again. Everything asks it anew for its id. */
export interface KeptChild extends Part {
  readonly counted: CountedProcess;
  readonly child: () => Child;
  readonly stop: () => Promise<void>;
}

export async function keepChild(column: string, options: Parameters<typeof startChild>[0]): Promise<KeptChild> {
  let child = await startChild(options);
  let stopped = false;
  /** Their successors are somebody else's business. */
  const killed = new WeakSet<Child>();
  const restartAfter = async (own: Child): Promise<void> => {
    await own.gone;
    await delay(RESTART_MS);
    if (stopped || killed.has(own)) return;
    await start();
    if (stopped) await child.stop();
  };
  const start = async (): Promise<void> => {
    child = await startChild(options);
    void restartAfter(child);
  };
  void restartAfter(child);
  return {
    counted: {
      name: column,
      get pid() {
        return child.pid;
      },
    },
    child: () => child,
    async stop() {
      stopped = true;
      await child.stop();
    },
    async killAndRestart() {
      killed.add(child);
      await child.kill();
      await start();
    },
  };
}
