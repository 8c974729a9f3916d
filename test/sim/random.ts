/** Numbers that look random and are the same for the same seed (mulberry32). */
export interface Random {
  /** 0 to `below` - 1. */
  below(below: number): number;
  /** `least` to `most`. */
  between(least: number, most: number): number;
  /** True so often of a hundred times. */
  percent(chance: number): boolean;
  pick<T>(of: readonly [T, ...T[]]): T;
}

export function createRandom(seed: number): Random {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (bound: number): number => next() % bound;
  return {
    below,
    between: (least, most) => least + below(most - least + 1),
    percent: (chance) => below(100) < chance,
    pick: (of) => of[below(of.length)] ?? of[0],
  };
}
