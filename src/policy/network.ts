import type { NetworkRules } from "./edge-policy.ts";

/** An address or network as bits. IPv4-mapped IPv6 addresses are the IPv4 ones. */
export interface Network {
  readonly family: 4 | 6;
  readonly bits: bigint;
  readonly prefixLength: number;
}

/** Null: neither an address nor `address/length`. Bits behind the length are ignored. */
export function parseNetwork(text: string): Network | null {
  const [, address, length] = /^([0-9a-fA-F:.]+)(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
  if (address === undefined) return null;
  const parsed = parseAddress(address);
  if (parsed === null) return null;
  // A mapped network counts its length from the IPv6 address's start.
  const isMapped = parsed.family === 4 && address.includes(":");
  const given = length === undefined ? null : Number(length) - (isMapped ? 96 : 0);
  const prefixLength = given ?? width(parsed.family);
  if (prefixLength < 0 || prefixLength > width(parsed.family)) return null;
  return { ...parsed, prefixLength };
}

export function parseAddress(text: string): Pick<Network, "family" | "bits"> | null {
  if (!text.includes(":")) {
    const bits = ipv4Bits(text);
    return bits === null ? null : { family: 4, bits };
  }
  const bits = ipv6Bits(text);
  if (bits === null) return null;
  return bits >> 32n === 0xffffn ? { family: 4, bits: bits & 0xffff_ffffn } : { family: 6, bits };
}

export function contains(network: Network, address: Pick<Network, "family" | "bits">): boolean {
  if (network.family !== address.family) return false;
  const shift = BigInt(width(network.family) - network.prefixLength);
  return network.bits >> shift === address.bits >> shift;
}

/** Whether an address lies in one of the networks. Unknown addresses, and networks that are none, are in nothing. */
export function isInAny(address: string | null, networks: readonly string[]): boolean {
  const parsed = address === null ? null : parseAddress(address);
  if (parsed === null) return false;
  return networks.some((text) => {
    const network = parseNetwork(text);
    return network !== null && contains(network, parsed);
  });
}

/** Whether a visitor from there may come in. Null: not known, which fails every rule about it. */
export function isAdmitted(
  rules: NetworkRules,
  visitor: { readonly address: string | null; readonly country: string | null },
): boolean {
  const { allow, deny = [], allowCountries, denyCountries = [] } = rules;
  const { address, country } = visitor;
  if (deny.length > 0 && (address === null || parseAddress(address) === null || isInAny(address, deny))) return false;
  if (denyCountries.length > 0 && (country === null || denyCountries.includes(country))) return false;
  if (allow !== undefined && !isInAny(address, allow)) return false;
  return allowCountries === undefined || (country !== null && allowCountries.includes(country));
}

/** Who counts as one visitor for rates: an IPv4 address, or the network that one IPv6 customer gets. */
export function visitorKey(address: string | null): string {
  const parsed = address === null ? null : parseAddress(address);
  if (parsed === null) return "unknown";
  return parsed.family === 4 ? `4:${parsed.bits.toString(16)}` : `6:${(parsed.bits >> 64n).toString(16)}`;
}

const width = (family: 4 | 6): number => (family === 4 ? 32 : 128);

function ipv4Bits(text: string): bigint | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let bits = 0n;
  for (const part of parts) {
    // No leading zeros: some readers take them for octal.
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return null;
    bits = (bits << 8n) | BigInt(part);
  }
  return bits;
}

/** RFC 4291, section 2.2. */
function ipv6Bits(text: string): bigint | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map(groupsOf);
  if (head === undefined || head === null || tail === null) return null;
  const groups =
    tail === undefined ? head : [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0n), ...tail];
  if (groups.length !== 8 || (tail !== undefined && head.length + tail.length > 7)) return null;
  return groups.reduce((bits, group) => (bits << 16n) | group, 0n);
}

/** Groups of 16 bits; an IPv4 address may be the last two of them. */
function groupsOf(text: string): bigint[] | null {
  if (text === "") return [];
  const groups: bigint[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (part.includes(".") && index === parts.length - 1) {
      const bits = ipv4Bits(part);
      if (bits === null) return null;
      groups.push(bits >> 16n, bits & 0xffffn);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(BigInt(`0x${part}`));
    } else {
      return null;
    }
  }
  return groups;
}
