import { continueTrace } from "../policy/headers.ts";
import { newId } from "../shared/ids.ts";

type Fill = (bytes: Uint8Array) => void;

/** Names of requests and traces. They are unique, not secret. */
export interface RequestIds {
  newRequestId(): string;
  /** The visitor's trace, or a new one. */
  traceOf(traceparent: string | null): string;
}

/** For about a hundred requests: a call of the platform costs more than the bytes. */
const POOL_BYTES = 4_096;

export function createRequestIds(random: Fill): RequestIds {
  const take = pooled(random);
  return {
    newRequestId: () => newId("req", take),
    traceOf: (traceparent) => continueTrace(traceparent, take),
  };
}

/** The same random bytes by the piece; none is given twice. At most POOL_BYTES at once. */
export function pooled(random: Fill): Fill {
  const pool = new Uint8Array(POOL_BYTES);
  let used = POOL_BYTES;
  return (bytes) => {
    if (used + bytes.length > POOL_BYTES) {
      random(pool);
      used = 0;
    }
    bytes.set(pool.subarray(used, used + bytes.length));
    used += bytes.length;
  };
}
