import { ANSWER_WRITE_BYTES } from "../limits.ts";
import { createSignal } from "./signal.ts";

/** Where the bytes of an answer come from, and what it learns of the visitor. */
export interface AnswerSource {
  /** The visitor's side took so many. */
  consumed(bytes: number): void;
  visitorGone(): void;
}

/** An answer of some length on its way to the visitor: chunks wait here until the visitor's side takes them. */
export interface AnswerBody {
  push(bytes: Uint8Array): void;
  end(): void;
  /** It broke off: the visitor must see that, too. */
  fail(reason: string): void;
  /** As the body of a Response. `length`: announced by the target, null when it did not say. */
  stream(length: number | null): ReadableStream;
}

export function createAnswerBody(source: AnswerSource, first: readonly Uint8Array[]): AnswerBody {
  let chunks: Uint8Array[] = [...first];
  let at = 0;
  const change = createSignal();
  let ended = false;
  let failure: string | null = null;

  const visitorGone = (): void => {
    chunks = [];
    at = 0;
    source.visitorGone();
  };

  /** What waits, in one piece of some size: each piece is a call out of the engine and a promise, which cost more than to copy it. */
  const take = (): Uint8Array | null => {
    const first = at;
    let bytes = 0;
    for (; at < chunks.length && (at === first || bytes + (chunks[at]?.length ?? 0) <= ANSWER_WRITE_BYTES); at++)
      bytes += chunks[at]?.length ?? 0;
    if (at === first) return null;
    const piece = joined(chunks.slice(first, at));
    if (at === chunks.length) {
      chunks = [];
      at = 0;
    }
    return piece;
  };

  /** The next chunk, or null at the end. Rejects when the answer broke off. */
  const next = async (): Promise<Uint8Array | null> => {
    for (;;) {
      const chunk = take();
      if (chunk !== null) return chunk;
      if (failure !== null) throw new Error(failure);
      if (ended) return null;
      await change.wait();
    }
  };

  /** The runtime's own stream moves bulk a quarter faster, but does not tell that the visitor is gone until the next write. */
  const fixed = (length: number): ReadableStream => {
    const { readable, writable } = new FixedLengthStream(length);
    const writer = writable.getWriter();
    const pump = async (): Promise<void> => {
      for (let chunk = await next(); chunk !== null; chunk = await next()) {
        await writer.write(chunk);
        source.consumed(chunk.length);
      }
      await writer.close();
    };
    writer.closed.catch(visitorGone);
    pump().catch((error: unknown) => {
      visitorGone();
      writer.abort(error).catch(() => undefined); // it may have failed already: that is why we are here
    });
    return readable;
  };

  /** For answers whose end nobody knows: events, long polls. A visitor who leaves ends them at once, also while nothing comes. */
  const open = (): ReadableStream =>
    new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const chunk = await next();
          if (chunk === null) return controller.close();
          controller.enqueue(chunk);
          source.consumed(chunk.length);
        },
        cancel: visitorGone,
      },
      { highWaterMark: 0 },
    );

  return {
    push(bytes) {
      chunks.push(bytes);
      change.raise();
    },
    end() {
      ended = true;
      change.raise();
    },
    fail(reason) {
      failure = reason;
      chunks = [];
      at = 0;
      change.raise();
    },
    stream: (length) => (length === null ? open() : fixed(length)),
  };
}

export function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
