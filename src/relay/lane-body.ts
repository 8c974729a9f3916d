import type { Stream } from "../protocol/tunnel/session.ts";
import { BODY_READ_BYTES, REPLAY_BYTES } from "./limits.ts";

/** Lets one waiter sleep until something may have changed. */
export interface Signal {
  wait(): Promise<void>;
  raise(): void;
}

export function createSignal(): Signal {
  let wake: (() => void) | null = null;
  let raised = false;
  return {
    wait: () =>
      new Promise((resolve) => {
        if (raised) resolve();
        else wake = resolve;
        raised = false;
      }),
    raise() {
      if (wake === null) raised = true;
      else wake();
      wake = null;
    },
  };
}

/** A visitor's request body on its way to a connector; the beginning is kept so that another connector can get it too. */
export interface RequestBody {
  /** All that was read is still here. */
  readonly replayable: boolean;
  /** All of it has been read. */
  readonly complete: boolean;
  /** Writes it to the stream as credit allows, from the beginning, and ends the stream's sending side. Never rejects. */
  feed(stream: Stream, room: Signal): Promise<void>;
  /** Nobody wants the rest. */
  cancel(): void;
}

export function createRequestBody(source: ReadableStream<Uint8Array>): RequestBody {
  const reader = source.getReader({ mode: "byob" });
  const chunks = new Map<number, Uint8Array>();
  let read = 0; // chunks so far
  let readBytes = 0;
  let replayable = true;
  let complete = false;
  let broken: string | null = null;
  let reading: Promise<void> | null = null;

  /** One read at a time: an attempt that failed may have left one under way, whose chunk belongs to the next attempt. */
  const readOne = async (): Promise<void> => {
    try {
      const { value, done } = await reader.read(new Uint8Array(BODY_READ_BYTES));
      if (value !== undefined && value.length > 0) {
        chunks.set(read, value);
        read += 1;
        readBytes += value.length;
        if (readBytes > REPLAY_BYTES) replayable = false;
      }
      if (done) complete = true;
    } catch (error) {
      broken = String(error);
    }
    reading = null;
  };

  return {
    get replayable() {
      return replayable;
    },
    get complete() {
      return complete;
    },
    async feed(stream, room) {
      for (let index = 0; ;) {
        while (!stream.closed && stream.writable <= 0) await room.wait();
        if (stream.closed) return;
        const chunk = chunks.get(index);
        if (chunk !== undefined) {
          if (!replayable) chunks.delete(index);
          index += 1;
          stream.write(chunk);
        } else if (complete) {
          return stream.end();
        } else if (broken !== null) {
          return stream.reset("cancelled", "the visitor's body broke off");
        } else {
          await (reading ??= readOne());
        }
      }
    },
    cancel() {
      if (!complete && broken === null) reader.cancel().catch(() => undefined); // the visitor may be gone already
    },
  };
}

/** A target's answer on its way to the visitor. Credit goes back as the visitor's side takes the bytes. */
export interface ResponseBody {
  push(bytes: Uint8Array): void;
  end(): void;
  /** It broke off: the visitor must see that, too. */
  fail(reason: string): void;
  /** All of it, when it has come already: no stream is needed then. */
  whole(): Uint8Array | null;
  /** The visitor gets no body, whatever comes. */
  discard(): void;
  /** The rest as a stream. `length`: announced by the target, null when it did not say. */
  stream(length: number | null): ReadableStream;
}

export function createResponseBody(stream: () => Stream): ResponseBody {
  const chunks: Uint8Array[] = [];
  const change = createSignal();
  let ended = false;
  let failure: string | null = null;
  let discarding = false;

  const visitorGone = (): void => {
    chunks.length = 0;
    stream().reset("cancelled", "the visitor went away");
  };

  /** The next chunk, or null at the end. Rejects when the answer broke off. */
  const next = async (): Promise<Uint8Array | null> => {
    for (;;) {
      const chunk = chunks.shift();
      if (chunk !== undefined) return chunk;
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
        stream().consumed(chunk.length);
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
          stream().consumed(chunk.length);
        },
        cancel: visitorGone,
      },
      { highWaterMark: 0 },
    );

  return {
    push(bytes) {
      if (discarding) return stream().consumed(bytes.length);
      chunks.push(bytes);
      change.raise();
    },
    end() {
      ended = true;
      change.raise();
    },
    fail(reason) {
      failure = reason;
      chunks.length = 0;
      change.raise();
    },
    whole() {
      if (!ended) return null;
      const bytes = joined(chunks);
      stream().consumed(bytes.length);
      return bytes;
    },
    discard() {
      discarding = true;
      stream().consumed(joined(chunks.splice(0)).length);
    },
    stream: (length) => (length === null ? open() : fixed(length)),
  };
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
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
