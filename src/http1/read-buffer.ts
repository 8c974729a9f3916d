const shared = new Map<number, Uint8Array>();

/**
 * Memory that Node reads into. On POSIX a read and its callback are one step, so all connections of the process share one buffer; Windows
 * begins reads ahead of their callbacks, so there each connection has its own.
 */
export function readBuffer(bytes: number): Uint8Array {
  if (process.platform === "win32") return new Uint8Array(bytes);
  const found = shared.get(bytes);
  if (found !== undefined) return found;
  const buffer = new Uint8Array(bytes);
  shared.set(bytes, buffer);
  return buffer;
}
