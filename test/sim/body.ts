import type { HeaderList, Stream, StreamEvents, StreamOutcome } from "../../src/protocol/tunnel/session.ts";
import { createRandom } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** Bytes without a period that fits any frame: what comes must be this, from the body's own place on. */
const PATTERN = new Uint8Array(1 << 20);
const noise = createRandom(7);
for (let i = 0; i < PATTERN.length; i++) PATTERN[i] = noise.below(256);
const BODIES_APART = 7919;
const startOf = (body: number): number => (body * BODIES_APART) % (PATTERN.length >> 1);

export interface BodyPlan {
  /** Number of the body: each has other bytes. */
  readonly body: number;
  readonly bytes: number;
  readonly chunkBytes: number;
  readonly messages: boolean;
  readonly trailers: boolean;
}

/** Writes the body as credit allows, then ends it. Call it again when there is room. */
export function createWriter(stream: Stream, { body, bytes, chunkBytes, messages, trailers }: BodyPlan): () => void {
  let at = 0;
  let ended = false;
  return () => {
    while (!ended) {
      if (at === bytes) {
        ended = true;
        if (messages) stream.sendMessageClose(1000, "");
        else stream.end(trailers ? [["check", String(body)]] : []);
        return;
      }
      const length = Math.min(chunkBytes, bytes - at);
      const from = startOf(body) + at;
      at += length;
      const chunk = PATTERN.subarray(from, from + length);
      const room = messages ? stream.sendMessage("binary", chunk) : stream.write(chunk);
      if (room <= 0 && at < bytes) return;
    }
  };
}

export interface Reader {
  readonly events: StreamEvents;
  readonly seenBytes: number;
  readonly complete: boolean;
  readonly outcomes: readonly StreamOutcome[];
  /** It takes everything from now on. */
  release(): void;
}

export interface ReaderPlan extends BodyPlan {
  /** How long a chunk takes downstream. */
  readonly takeMs: number;
  /** Takes nothing until it is released. */
  readonly stalls: boolean;
}

/** Checks every byte that comes and takes it after a while. */
export function createReader(who: string, plan: ReaderPlan, time: Timeline, stream: () => Stream | null): Reader {
  let seen = 0;
  let complete = false;
  let stalled = plan.stalls;
  let waiting = 0;
  const outcomes: StreamOutcome[] = [];
  /** A host drops what it holds of a stream that was reset. */
  const consume = (bytes: number): void => {
    if (outcomes[0]?.kind !== "reset") stream()?.consumed(bytes);
  };
  const alive = (): void => {
    if (outcomes.length > 0) throw new Error(`${who}: an event after the end, or a second end`);
  };
  const take = (bytes: Uint8Array, creditBytes: number): void => {
    alive();
    if (complete) throw new Error(`${who}: bytes after the end of the body`);
    const from = startOf(plan.body) + seen;
    if (Buffer.compare(bytes, PATTERN.subarray(from, from + bytes.length)) !== 0)
      throw new Error(`${who}: wrong bytes at ${seen}`);
    seen += bytes.length;
    if (stalled) waiting += creditBytes;
    else time.after(plan.takeMs, () => consume(creditBytes));
  };
  const end = (): void => {
    alive();
    if (complete) throw new Error(`${who}: the body ends twice`);
    complete = true;
    if (seen !== plan.bytes) throw new Error(`${who}: the body ends after ${seen} of ${plan.bytes} bytes`);
  };
  return {
    get seenBytes() {
      return seen;
    },
    get complete() {
      return complete;
    },
    outcomes,
    events: {
      data: (bytes) => take(bytes, bytes.length),
      message: ({ data, creditBytes }) => take(data, creditBytes),
      messageClose: end,
      end(trailers: HeaderList) {
        end();
        if (trailers.length !== (plan.trailers ? 1 : 0)) throw new Error(`${who}: wrong trailers`);
      },
      closed(outcome) {
        alive();
        outcomes.push(outcome);
      },
    },
    release() {
      stalled = false;
      consume(waiting);
      waiting = 0;
    },
  };
}
