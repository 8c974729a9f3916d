/** Counts of failures by key (tenant and address), in windows of fixed length. In memory of one isolate or process: it slows guessing down. */
export interface Attempts {
  /** Milliseconds until this key may try again; 0: it may now. */
  blockedForMs(key: string, nowMs: number): number;
  count(key: string, nowMs: number): void;
}

export function createAttempts(limits: { perWindow: number; windowMs: number; keysMax: number }): Attempts {
  const seen = new Map<string, { sinceMs: number; failures: number }>();
  const current = (key: string, nowMs: number) => {
    const entry = seen.get(key);
    return entry !== undefined && nowMs - entry.sinceMs < limits.windowMs ? entry : null;
  };
  return {
    blockedForMs(key, nowMs) {
      const entry = current(key, nowMs);
      if (entry === null || entry.failures < limits.perWindow) return 0;
      return entry.sinceMs + limits.windowMs - nowMs;
    },
    count(key, nowMs) {
      const entry = current(key, nowMs);
      if (entry !== null) {
        entry.failures += 1;
        return;
      }
      // Of a full map the one that began longest ago goes.
      seen.delete(key);
      if (seen.size >= limits.keysMax) for (const oldest of [...seen.keys()].slice(0, 1)) seen.delete(oldest);
      seen.set(key, { sinceMs: nowMs, failures: 1 });
    },
  };
}
