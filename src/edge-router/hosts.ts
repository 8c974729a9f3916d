import { canonicalHost, isHostField, parseHost, type ParsedHost } from "../policy/host.ts";
import { createLru } from "./lru.ts";

/** What the authority of a URL says, read once for each that comes again and again. */
export interface Host {
  readonly parsed: ParsedHost;
  /** Lower case, without a trailing dot; what services build URLs from. */
  readonly withPort: string;
  /** Literally a host with or without a port. */
  readonly isPlain: boolean;
}

export interface Hosts {
  read(authority: string): Host;
}

/** Longer ones name nobody; they are not remembered. */
const REMEMBERED_LENGTH = 300;

export function createHosts(baseDomains: readonly [string, ...string[]], maxHosts: number): Hosts {
  const known = createLru<Host>(maxHosts);
  return {
    read(authority) {
      const found = known.get(authority);
      if (found !== undefined) return found;
      const host: Host = {
        parsed: parseHost(authority, baseDomains),
        withPort: authority.toLowerCase().replace(/\.(?=:|$)/, ""),
        isPlain: isHostField(authority),
      };
      if (authority.length <= REMEMBERED_LENGTH) known.set(authority, host);
      return host;
    },
  };
}

/**
 * Why a request's Host header is refused, or null. The runtime makes the URL from it; where a proxy in front or an absolute-form target made
 * them differ, nobody guesses.
 */
export function hostProblem(header: string | null, authority: string, host: Host): string | null {
  if (header === null) return null;
  const isPlain = header === authority ? host.isPlain : isHostField(header);
  if (!isPlain) return "The Host header is not a host with or without a port.";
  if (header === authority) return null;
  const named = canonicalHost(header);
  if (host.parsed.kind === "malformed") {
    // No address that this host could have: `OPTIONS *`, or what the runtime made of it.
    return named === null ? null : "The request's target is neither a path nor an address of the host.";
  }
  return named === null || named === host.parsed.host ? null : "The request names two different hosts.";
}
