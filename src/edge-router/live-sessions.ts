import type { Clock } from "../shared/clock.ts";
import { LIMITS } from "./limits.ts";
import { createLru } from "./lru.ts";
import { within, type Timer } from "./timer.ts";

/**
 * Whether the portal session behind a tenant host's session token still lasts. A token alone would outlive a sign-out by hours in the hands of
 * whoever copied it. Asked every few seconds per session that is used and isolate, behind the request where the last answer is not old; every
 * request that waits asks for itself, for a promise of another one may die with it.
 */
export interface LiveSessions {
  /** Never rejects: a portal that can't tell ends nobody's session, for the edge goes on without it (the token's own end still holds). */
  isLive(sessionId: string, waitUntil: (work: Promise<unknown>) => void): Promise<boolean>;
  /** Ended just now, by this very isolate. */
  noteEnded(sessionId: string): void;
}

export interface LiveSessionsPorts {
  /** The portal's answer; rejects when it can't be had. */
  readonly ask: (sessionId: string) => Promise<boolean>;
  readonly now: Clock;
  readonly timer: Timer;
  readonly onFailure: (error: unknown) => void;
}

/** Never back to life: ids are not used twice. */
type Known =
  | { readonly kind: "ended" }
  | { readonly kind: "live"; readonly freshUntilMs: number; readonly servedUntilMs: number };

export function createLiveSessions(ports: LiveSessionsPorts): LiveSessions {
  const known = createLru<Known>(LIMITS.cachedSessions);
  const isEnded = (sessionId: string): boolean => known.get(sessionId)?.kind === "ended";

  async function ask(sessionId: string): Promise<boolean> {
    let isLive = true;
    let freshMs: number = LIMITS.sessionFreshMs;
    let servedMs: number = LIMITS.sessionServedMs;
    try {
      isLive = await within(ports.timer, LIMITS.sessionCheckTimeoutMs, ports.ask(sessionId));
    } catch (error) {
      ports.onFailure(error);
      freshMs = LIMITS.sessionRecheckMs;
      servedMs = LIMITS.sessionRecheckMs;
    }
    // It may have been ended while the question was under way.
    if (isEnded(sessionId)) return false;
    const nowMs = ports.now();
    const live = { kind: "live", freshUntilMs: nowMs + freshMs, servedUntilMs: nowMs + servedMs } as const;
    known.set(sessionId, isLive ? live : { kind: "ended" });
    return isLive;
  }

  return {
    async isLive(sessionId, waitUntil) {
      const last = known.get(sessionId);
      if (last?.kind === "ended") return false;
      const nowMs = ports.now();
      if (last === undefined || nowMs >= last.servedUntilMs) return await ask(sessionId);
      if (nowMs >= last.freshUntilMs) {
        // One question at a time: the others go on with what is known.
        known.set(sessionId, { ...last, freshUntilMs: last.servedUntilMs });
        waitUntil(ask(sessionId));
      }
      return true;
    },
    noteEnded(sessionId) {
      known.set(sessionId, { kind: "ended" });
    },
  };
}
