/** Microseconds since the epoch, the same in all processes of a machine to some microseconds: Date.now() has milliseconds only. */
export const epochMicros = (): number => Math.round((performance.timeOrigin + performance.now()) * 1_000);
