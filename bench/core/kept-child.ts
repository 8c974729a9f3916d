import { startChild, type Child } from "./children.ts";
import type { CountedProcess, Part } from "./types.ts";

/** A process that may be killed and started again: everything asks it anew for its id. */
export interface KeptChild extends Part {
  readonly counted: CountedProcess;
  readonly child: () => Child;
  readonly stop: () => Promise<void>;
}

export async function keepChild(column: string, options: Parameters<typeof startChild>[0]): Promise<KeptChild> {
  let child = await startChild(options);
  return {
    counted: {
      name: column,
      get pid() {
        return child.pid;
      },
    },
    child: () => child,
    stop: () => child.stop(),
    async killAndRestart() {
      await child.kill();
      child = await startChild(options);
    },
  };
}
