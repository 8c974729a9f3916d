/** A map of bounded size that forgets what was not used for longest. */
export interface Lru<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
}

export function createLru<V>(maxEntries: number): Lru<V> {
  const entries = new Map<string, V>(); // insertion order is order of use
  let newest: string | null = null; // asked for again and again: no need to move it
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
      entries.delete(key);
      entries.set(key, value);
      const oldest = entries.size > maxEntries ? entries.keys().next() : undefined;
      if (oldest?.done === false) entries.delete(oldest.value);
    },
    delete(key) {
      entries.delete(key);
    },
  };
}
