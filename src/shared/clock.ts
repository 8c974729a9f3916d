/** Milliseconds since the Unix epoch. Handed in as an argument everywhere below the hosts, so tests own the time. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();
