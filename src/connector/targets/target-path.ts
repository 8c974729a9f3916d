/**
 * The path that the target sees: its base in front of the request's, and nothing normalised, decoded or encoded: `..`, `//` and `%2F` mean
 * what the target says they mean. (An edge that wants to forbid them does so before.)
 */
export function targetPath(base: string, requestPath: string): string {
  const prefix = base.endsWith("/") ? base.slice(0, -1) : base;
  return prefix + requestPath;
}
