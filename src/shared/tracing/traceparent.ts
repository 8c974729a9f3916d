/** Of version 00 (W3C Trace Context), as policy/headers.ts makes sure at our front; null: it is none, and its trace is nobody's. */
export function parseTraceparent(
  text: string,
): { readonly traceId: string; readonly spanId: string; readonly isSampled: boolean } | null {
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(text) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { traceId, spanId, isSampled: (parseInt(flags, 16) & 1) === 1 };
}

/** The lowest bit of the flags, without looking at the rest: for the many requests that are not sampled. */
export const saysSampled = (traceparent: string): boolean => {
  const last = traceparent.charCodeAt(traceparent.length - 1);
  // Of 0-9 and a-f those with the lowest bit: 1 3 5 7 9 have odd codes; of letters b d f, whose codes are even.
  return last < 0x3a ? (last & 1) === 1 : (last & 1) === 0;
};

/** The fields with another traceparent in place of the one that they had; names in any case. */
export function withTraceparent(
  fields: readonly (readonly [name: string, value: string])[],
  traceparent: string,
): (readonly [name: string, value: string])[] {
  return fields.map((field) => (isTraceparent(field[0]) ? [field[0], traceparent] : field));
}

/** The field's value, or null. */
export function traceparentOf(fields: readonly (readonly [name: string, value: string])[]): string | null {
  for (const [name, value] of fields) if (isTraceparent(name)) return value;
  return null;
}

const isTraceparent = (name: string): boolean => name.length === 11 && name.toLowerCase() === "traceparent";
