/**
 * The path that the target sees: its base in front of the request's (without `stripPrefix`, where that is its beginning), and nothing
 * normalised, decoded or encoded: `..`, `//` and `%2F` mean what the target says they mean. (An edge that wants to forbid them does so
 * before.)
 */
export function targetPath(base: string, requestPath: string, stripPrefix: string | null = null): string {
  const rest = stripPrefix === null ? requestPath : (pathBelow(stripPrefix, requestPath) ?? requestPath);
  const prefix = base.endsWith("/") ? base.slice(0, -1) : base;
  return prefix + rest;
}

/** What follows `base` in a path with query, from "/" on; null: the path is not below it. By whole segments. */
export function pathBelow(base: string, path: string): string | null {
  const prefix = base.endsWith("/") ? base.slice(0, -1) : base;
  if (!path.startsWith(prefix)) return null;
  const rest = path.slice(prefix.length);
  if (rest === "" || rest.startsWith("?") || rest.startsWith("#")) return `/${rest}`;
  return rest.startsWith("/") ? rest : null;
}
