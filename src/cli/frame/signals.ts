import process from "node:process";

const ignored = (): void => undefined;

/**
 * Listens to signals; answers how to stop. After that they are ignored instead of doing what the system does by default: the process is about
 * to end, and one more signal must not change its exit code.
 */
export function listenToSignals(
  signals: readonly NodeJS.Signals[],
  listener: (signal: NodeJS.Signals) => void,
): () => void {
  for (const signal of signals) process.on(signal, listener);
  return () => {
    for (const signal of signals) {
      process.on(signal, ignored);
      process.off(signal, listener);
    }
  };
}
