/** Bytes that a Content-Length announces, or null when it is absent or no plain number. */
export function declaredLength(headers: Headers): number | null {
  const value = headers.get("content-length");
  return value !== null && /^[0-9]{1,15}$/.test(value) ? Number(value) : null;
}

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

/**
 * The same body; `moved` is called with every chunk, `ended` when the last one is out or the reader leaves. Nothing is promised when the
 * visitor goes away: the runtime may stop this code without a word. A known length stays known.
 */
export function watchedBody(
  body: ReadableStream<Uint8Array>,
  length: number | null,
  on: { readonly moved: () => void; readonly ended: () => void },
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const watched = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) {
          on.ended();
          controller.close();
        } else {
          on.moved();
          controller.enqueue(value);
        }
      },
      async cancel(reason) {
        on.ended();
        await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  return length === null ? watched : watched.pipeThrough(new FixedLengthStream(length));
}
