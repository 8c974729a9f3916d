/**
 * A body and the moment when all of it went through (or the way ended). The runtime moves the bytes itself, a chunk at a time; a known
 * length stays known, so the next hop still gets a Content-Length.
 */
export function observedBody(
  body: ReadableStream<Uint8Array>,
  length: number | null,
): { readonly body: ReadableStream<Uint8Array>; readonly ended: Promise<void> } {
  const through = length === null ? new IdentityTransformStream() : new FixedLengthStream(length);
  const ended = body.pipeTo(through.writable).catch(() => undefined); // both ends see the error themselves
  return { body: through.readable, ended };
}
