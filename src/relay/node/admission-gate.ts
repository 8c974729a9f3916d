import { ADMISSION_WAIT_MS, ADMISSIONS_AT_ONCE, ADMISSIONS_WAITING_MAX, RETRY_AFTER_MAX_SECONDS } from "./limits.ts";

/**
 * Lets dials in a few at a time, in the order in which they came. Proving all of a fleet that comes back at once would end them together, after
 * the first have given up: then the work was for nothing, and they come again.
 */
export interface AdmissionGate {
  /**
   * Runs `admit` when its turn comes, unless `isGone` says then that nobody waits for it. Answers null; or, when the turn would come too late,
   * after how many seconds there is room: those who are sent away are spread over the time that it takes.
   */
  enter(admit: () => Promise<void>, isGone: () => boolean): number | null;
}

interface Waiting {
  readonly admit: () => Promise<void>;
  readonly isGone: () => boolean;
}

/** A first guess, before any was admitted: a slow machine's. */
const FIRST_ADMISSION_MS = 1;
/** Weight of the newest measurement: some tens of dials tell how fast this machine is just now. */
const SMOOTHING = 0.05;
/** What took longer was no admission: the whole process stood still. */
const SLOWEST_ADMISSION_MS = 100;

/** `now`: milliseconds of a clock that never jumps. `admit` must not reject. */
export function createAdmissionGate(now: () => number): AdmissionGate {
  let waiting: Waiting[] = [];
  let next = 0;
  let running = 0;
  let lastDoneMs = 0;
  let eachMs = FIRST_ADMISSION_MS;
  /** When those who were sent away so far will have been admitted. */
  let promisedMs = 0;

  const isQueueEmpty = (): boolean => next >= waiting.length;

  function left(): void {
    running -= 1;
    const nowMs = now();
    // Only while others waited does the time since the last one say how long one takes.
    if (!isQueueEmpty()) eachMs += SMOOTHING * (Math.min(nowMs - lastDoneMs, SLOWEST_ADMISSION_MS) - eachMs);
    lastDoneMs = nowMs;
    start();
  }

  function start(): void {
    while (running < ADMISSIONS_AT_ONCE && !isQueueEmpty()) {
      const first = waiting[next];
      next += 1;
      if (first === undefined || first.isGone()) continue;
      if (running === 0) lastDoneMs = now();
      running += 1;
      void first.admit().then(left);
    }
    if (!isQueueEmpty()) return;
    waiting = [];
    next = 0;
  }

  return {
    enter(admit, isGone) {
      const length = waiting.length - next;
      if (length >= ADMISSIONS_WAITING_MAX || length * eachMs > ADMISSION_WAIT_MS) {
        promisedMs = Math.max(promisedMs, now() + length * eachMs) + eachMs;
        return Math.min(RETRY_AFTER_MAX_SECONDS, Math.max(1, Math.ceil((promisedMs - now()) / 1_000)));
      }
      waiting.push({ admit, isGone });
      start();
      return null;
    },
  };
}
