import type { Clock } from "../shared/clock.ts";
import { createLru } from "./lru.ts";
import type { Timer } from "./timer.ts";

/**
 * One piece of work a key at a time, for all requests of this isolate that want it at the same moment. Nobody awaits another request's
 * promise: a promise belongs to the request that made it, and the runtime's guard of that border is gone in code that its engine has optimised,
 * where whoever waits goes on in the other request and fails at its first body (docs/adr/0006). Here the outcome is left as plain data, and
 * those who wait look for it by timers of their own.
 */
export interface SingleFlight<T> {
  /** `work` never rejects, its value is plain data. It goes on, by `waitUntil`, when the visitor who began it hangs up. */
  run(key: string, work: () => Promise<T>, waitUntil: (work: Promise<unknown>) => void): Promise<T>;
  isUnderWay(key: string): boolean;
}

export interface SingleFlightLimits {
  /** Work of another request is waited for until it is this old. */
  readonly trustedMs: number;
  /** Work that is older was lost with its request. */
  readonly lostMs: number;
  /** Beyond so many at once the oldest are forgotten: their work is done, and may be done twice. */
  readonly maxKeys: number;
}

interface Flight<T> {
  readonly startedAtMs: number;
  outcome: { readonly value: T } | null;
}

/** Looks come fast at first (an object near by answers in a few milliseconds), then ever more slowly up to this. */
const LOOK_EVERY_MAX_MS = 20;

export function createSingleFlight<T>(
  { now, timer }: { readonly now: Clock; readonly timer: Timer },
  { trustedMs, lostMs, maxKeys }: SingleFlightLimits,
): SingleFlight<T> {
  const flights = createLru<Flight<T>>(maxKeys);
  const ageMs = ({ startedAtMs }: Flight<T>): number => now() - startedAtMs;

  const isTrusted = (flight: Flight<T>): boolean => ageMs(flight) < trustedMs;

  /** Null: it has not come in time. */
  async function outcomeOf(flight: Flight<T>): Promise<Flight<T>["outcome"]> {
    for (let waitMs = 1; flight.outcome === null; waitMs = Math.min(2 * waitMs, LOOK_EVERY_MAX_MS)) {
      if (!isTrusted(flight)) return null;
      await new Promise<void>((resolve) => timer(waitMs, resolve));
    }
    return flight.outcome;
  }

  async function begin(key: string, work: () => Promise<T>): Promise<T> {
    const flight: Flight<T> = { startedAtMs: now(), outcome: null };
    flights.set(key, flight);
    const value = await work();
    flight.outcome = { value };
    if (flights.get(key) === flight) flights.delete(key);
    return value;
  }

  return {
    async run(key, work, waitUntil) {
      // Twice: where it is in vain, one of those who wait begins anew, and the others give that one the same time.
      for (let tries = 0; tries < 2; tries += 1) {
        const flight = flights.get(key);
        if (flight === undefined || !isTrusted(flight)) break;
        const outcome = await outcomeOf(flight);
        if (outcome !== null) return outcome.value;
      }
      const own = begin(key, work);
      waitUntil(own);
      return await own;
    },
    isUnderWay(key) {
      const flight = flights.get(key);
      return flight !== undefined && ageMs(flight) <= lostMs;
    },
  };
}
