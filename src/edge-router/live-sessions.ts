import type { Clock } from "../shared/clock.ts";
import { LIMITS } from "./limits.ts";
import { createLru } from "./lru.ts";
import { within, type Timer } from "./timer.ts";

/**
 * Whether the portal session behind a tenant host's session token still lasts. A token alone would outlive a sign-out by hours in the hands of
 * whoever copied it. Asked once in a while per session and isolate; every request asks for itself, for a promise of another one may die with it.
 */
export interface LiveSessions {
  /** Never rejects: a portal that can't tell ends nobody's session, for the edge goes on without it (the token's own end still holds). */
  isLive(sessionId: string): Promise<boolean>;
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
type Known = { readonly kind: "ended" } | { readonly kind: "live"; readonly untilMs: number };

export function createLiveSessions(ports: LiveSessionsPorts): LiveSessions {
  const known = createLru<Known>(LIMITS.cachedSessions);
  const isEnded = (sessionId: string): boolean => known.get(sessionId)?.kind === "ended";

  return {
    async isLive(sessionId) {
      const last = known.get(sessionId);
      if (last?.kind === "ended") return false;
      if (last !== undefined && ports.now() < last.untilMs) return true;
      let isLive = true;
      let validMs: number = LIMITS.sessionCheckMs;
      try {
        isLive = await within(ports.timer, LIMITS.sessionCheckTimeoutMs, ports.ask(sessionId));
      } catch (error) {
        ports.onFailure(error);
        validMs = LIMITS.sessionRecheckMs;
      }
      // It may have been ended while the question was under way.
      if (isEnded(sessionId)) return false;
      known.set(sessionId, isLive ? { kind: "live", untilMs: ports.now() + validMs } : { kind: "ended" });
      return isLive;
    },
    noteEnded(sessionId) {
      known.set(sessionId, { kind: "ended" });
    },
  };
}
