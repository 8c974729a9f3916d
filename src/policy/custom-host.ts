import { err, ok, type Result } from "../shared/result.ts";
import { canonicalHost } from "./host.ts";

/**
 * Hosts that customers bring, and the DNS records that prove them. Console and provisioner share the rules, so that what the API accepts is
 * what the edge finds.
 */

/** What can be wrong with a host that a tenant wants, with one sentence for people. */
export const HOST_PROBLEM_TEXT = {
  "not-a-host": "This is not a host name: labels of letters, digits and hyphens, without scheme, port and path.",
  address: "This is an address. Only names can be proven by DNS.",
  wildcard: "A wildcard is not possible. Add each host by itself.",
  "single-label": "The name needs at least two labels.",
  "too-long": "The name is too long: there must be room for the label of its proof.",
  "platform-domain": "This is a base domain of the platform, or below one. Tenants get their hosts there by name.",
} as const;
export type HostProblem = keyof typeof HOST_PROBLEM_TEXT;

/** Label in front of a host under which its owner puts the proof as TXT. The underscore keeps it apart from hosts (RFC 8552). */
const PROOF_LABEL = "_causeway";
/** Of the name that holds the proof, in text form (RFC 1035, section 2.3.4). */
const MAX_NAME_LENGTH = 253;

/**
 * The host in the form in which browsers send it: lower case, internationalised labels in ASCII (UTS 46, as the WHATWG URL standard applies
 * it), no trailing dot. `bases`: base domains of all clusters.
 */
export function parseCustomHost(text: string, bases: Iterable<string>): Result<string, HostProblem> {
  const bare = text.trim();
  if (bare.includes("*")) return err("wildcard");
  // A bracketed IPv6 literal, or one without brackets.
  if (/^\[|^[0-9a-f]*:[0-9a-f:.]*:/i.test(bare)) return err("address");
  // What separates parts of a URL, and percent-encoding, would be taken for the host by the parser below.
  if (/[\s/\\?#@:%]/.test(bare)) return err("not-a-host");
  const ascii = URL.canParse(`http://${bare}/`) ? new URL(`http://${bare}/`).hostname : null;
  if (ascii === null) return err("not-a-host");
  // The parser has turned every notation of an IPv4 address into this one.
  if (/^[0-9]+(?:\.[0-9]+){3}$/.test(ascii)) return err("address");
  const host = canonicalHost(ascii);
  if (host === null) return err("not-a-host");
  if (!host.includes(".")) return err("single-label");
  if (PROOF_LABEL.length + 1 + host.length > MAX_NAME_LENGTH) return err("too-long");
  for (const base of bases) if (host === base || host.endsWith(`.${base}`)) return err("platform-domain");
  return ok(host);
}

/** Characters of a proof's token: with the prefix below one DNS label that is too long for a slug, so that no tenant can be named like it. */
const TOKEN_LENGTH = 40;
const TOKEN_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/** A token for a tenant and a host: 200 random bits, lower case. `random` fills the array. */
export function newHostToken(random: (bytes: Uint8Array) => unknown): string {
  const bytes = new Uint8Array(TOKEN_LENGTH);
  random(bytes);
  return Array.from(bytes, (byte) => TOKEN_ALPHABET[byte & 31]).join("");
}

/** A record that the owner of a domain is to set. */
export interface DnsRecord {
  readonly type: "TXT" | "CNAME";
  readonly name: string;
  readonly value: string;
}

/**
 * The records that prove a host; either is enough. The CNAME also leads visitors to the platform, and is a name of this tenant and host
 * alone: one that was left behind proves nothing for whoever comes next. A domain's own apex can have no CNAME: it takes the TXT, and an
 * address record (or ALIAS) to the platform.
 */
export function proofRecords(host: string, token: string, base: string): { txt: DnsRecord; cname: DnsRecord } {
  return {
    txt: { type: "TXT", name: `${PROOF_LABEL}.${host}`, value: `causeway-host=${token}` },
    cname: { type: "CNAME", name: host, value: `host-${token}.${base}` },
  };
}
