import { parseTraceparent } from "./traceparent.ts";

/** What to do with a trace that nobody decided on before, and whether a parent's decision counts. */
export interface Sampling {
  readonly isParentBased: boolean;
  /** 0 to 1. */
  readonly ratio: number;
}

/** By the OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG of the specification; null: no such sampler. */
export function parseSampling(name: string, argument: string): Sampling | null {
  const isParentBased = name.startsWith("parentbased_");
  switch (isParentBased ? name.slice("parentbased_".length) : name) {
    case "always_on":
      return { isParentBased, ratio: 1 };
    case "always_off":
      return { isParentBased, ratio: 0 };
    case "traceidratio": {
      const ratio = argument === "" ? 1 : Number(argument);
      return ratio >= 0 && ratio <= 1 ? { isParentBased, ratio } : null;
    }
    default:
      return null;
  }
}

const DIGITS = 13;
const RANGE = 2 ** (4 * DIGITS);

/** By the last 52 bits of the trace's id, which are random in all versions of W3C Trace Context: every part decides alike. */
export const isInRatio = (traceId: string, ratio: number): boolean =>
  ratio >= 1 || (ratio > 0 && parseInt(traceId.slice(-DIGITS), 16) >= (1 - ratio) * RANGE);

/** For a request of one of our own hops. */
export function isChildSampled(
  parent: NonNullable<ReturnType<typeof parseTraceparent>>,
  { isParentBased, ratio }: Sampling,
): boolean {
  return isParentBased ? parent.isSampled : isInRatio(parent.traceId, ratio);
}
