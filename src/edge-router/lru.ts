/** A map of bounded size that forgets what was not used for longest. */
export interface Lru<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
}

/** For values whose sizes differ a lot: the sum of what `of` says of them stays within `max`. */
export interface LruWeight<V> {
  readonly max: number;
  readonly of: (value: V) => number;
}

/** A value that alone weighs more than all may is not kept. */
export function createLru<V>(maxEntries: number, weight: LruWeight<V> | null = null): Lru<V> {
  const entries = new Map<string, V>(); // insertion order is order of use
  let newest: string | null = null; // asked for again and again: no need to move it
  let weighed = 0;

  function forget(key: string): void {
    const value = weight === null ? undefined : entries.get(key);
    if (!entries.delete(key)) return;
    if (weight !== null && value !== undefined) weighed -= weight.of(value);
  }

  const isFull = (): boolean => entries.size > maxEntries || (weight !== null && weighed > weight.max);

  return {
    get(key) {
      const value = entries.get(key);
      if (value === undefined || key === newest) return value;
      newest = key;
      entries.delete(key);
      entries.set(key, value);
      return value;
    },
    set(key, value) {
      newest = key;
      forget(key);
      entries.set(key, value);
      if (weight !== null) weighed += weight.of(value);
      while (isFull()) {
        const oldest = entries.keys().next();
        if (oldest.done === true) break;
        forget(oldest.value);
      }
    },
    delete: forget,
  };
}
