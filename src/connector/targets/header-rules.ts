import type { HeaderList } from "../../protocol/tunnel/session.ts";
import type { HeaderRules } from "./target-settings.ts";

/** Rules made ready: removes and sets first, then adds. Null: nothing to do. */
export interface CompiledRules {
  /** Lower case: what is removed or replaced. */
  readonly dropped: ReadonlySet<string>;
  readonly added: HeaderList;
}

export function compileRules({ set, add, remove }: HeaderRules): CompiledRules | null {
  const dropped = new Set([...Object.keys(set), ...remove].map((name) => name.toLowerCase()));
  const added = [
    ...Object.entries(set),
    ...Object.entries(add).flatMap(([name, values]) => values.map((value): [string, string] => [name, value])),
  ];
  return dropped.size === 0 && added.length === 0 ? null : { dropped, added };
}

export function applyRules(rules: CompiledRules | null, headers: HeaderList): HeaderList {
  if (rules === null) return headers;
  const { dropped, added } = rules;
  return [...headers.filter(([name]) => !dropped.has(name.toLowerCase())), ...added];
}
