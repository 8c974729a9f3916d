/**
 * Values of fields between this runtime, which reads and writes them as UTF-8, and the tunnel, which carries octets, one character each
 * (docs/protocol.md, "Heads"): without this a file's name in UTF-8 would reach visitors encoded twice.
 */
const utf8 = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const WIDE = /[\u0080-\uffff]/;

/** What a visitor sent. Octets that are no UTF-8 are lost in the runtime already: it gives U+FFFD for them. */
export function octetsOf(text: string): string {
  if (!WIDE.test(text)) return text;
  let octets = "";
  for (const octet of utf8.encode(text)) octets += String.fromCharCode(octet);
  return octets;
}

/** What the runtime writes as the target's octets; of those that are no UTF-8 it writes the characters that they are in Latin-1. */
export function textOf(octets: string): string {
  if (!WIDE.test(octets)) return octets;
  try {
    return strict.decode(Uint8Array.from(octets, (octet) => octet.charCodeAt(0)));
  } catch {
    return octets;
  }
}
