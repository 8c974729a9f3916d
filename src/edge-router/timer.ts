/** Runs `fire` after a time unless it is cancelled before. Handed in, so that tests own the time. */
export type Timer = (ms: number, fire: () => void) => () => void;

export const systemTimer: Timer = (ms, fire) => {
  const id = setTimeout(fire, ms);
  return () => clearTimeout(id);
};

export class DeadlineError extends Error {
  override name = "DeadlineError";
}

/** The promise's own outcome, or a rejection with DeadlineError when it takes longer. The work itself is not stopped. */
export function within<T>(timer: Timer, ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = timer(ms, () => reject(new DeadlineError(`no answer within ${ms} ms`)));
    const settle =
      <A>(outcome: (value: A) => void) =>
      (value: A): void => {
        cancel();
        outcome(value);
      };
    work.then(settle(resolve), settle(reject));
  });
}
