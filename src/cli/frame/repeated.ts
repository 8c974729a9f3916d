import { parseArgs } from "node:util";

/** All values of a flag that may be repeated; citty keeps the last one only. */
export function repeated(rawArgs: readonly string[], name: string): string[] {
  const { values } = parseArgs({
    args: [...rawArgs],
    options: { [name]: { type: "string", multiple: true } },
    strict: false,
  });
  const found = values[name];
  return Array.isArray(found) ? found.filter((value) => typeof value === "string") : [];
}
