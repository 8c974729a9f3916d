/** What a field means to the framing. "owned": of this hop, written by us alone. "bad": no name at all. */
export type FieldKind = "plain" | "owned" | "length" | "date" | "host" | "expect" | "upgrade" | "bad";

const KINDS: Readonly<Record<string, FieldKind>> = {
  connection: "owned",
  "keep-alive": "owned",
  "proxy-connection": "owned",
  "transfer-encoding": "owned",
  "content-length": "length",
  date: "date",
  host: "host",
  expect: "expect",
  upgrade: "upgrade",
};

/** Names repeat: looking one up is cheaper than testing it again. Bounded, because names come from the network. */
const known = new Map<string, FieldKind>();
const KNOWN_MAX = 1024;

export function kindOf(name: string): FieldKind {
  const found = known.get(name);
  if (found !== undefined) return found;
  const kind = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) ? (KINDS[name.toLowerCase()] ?? "plain") : "bad";
  if (known.size < KNOWN_MAX && name.length <= 64) known.set(name, kind);
  return kind;
}

/** Text that can't break out of its field: tab, visible characters, latin1. */
export const isFieldValue = (value: string): boolean => !/[^\t\x20-\x7e\x80-\xff]/.test(value);

export const isPath = (path: string): boolean => path === "*" || /^\/[\x21\x22\x24-\x7e]*$/.test(path);
