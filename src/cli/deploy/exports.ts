/** Names that an ES module of esbuild's exports: its last `export { a as b, c };`. */
export function exportedNames(code: string): Set<string> {
  const at = code.lastIndexOf("export {");
  if (at === -1) return new Set();
  const list = code.slice(at + "export {".length, code.indexOf("}", at));
  return new Set(
    list
      .split(",")
      .map(
        (one) =>
          one
            .trim()
            .split(/\s+as\s+/)
            .at(-1) ?? "",
      )
      .filter((name) => name !== ""),
  );
}
