/** Variables of traces (docs/operations.md, "Traces"). */
const OURS = /^(?:OTEL_[A-Z0-9_]+|CAUSEWAY_TRACES_TRUST_VISITORS)$/;

/** Those of the caller that parts which record spans get; the headers among them may hold a token, so nobody else does. */
export function traceEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (OURS.test(name) && value !== undefined) found[name] = value;
  return found;
}
