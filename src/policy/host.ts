import { parseSlug, parseTarget } from "./names.ts";

/**
 * What a Host header says, without asking anybody. `host` is always the canonical form: lower case, no port, no trailing dot.
 * `unknown` is a well-formed host below a base domain that can't be a tenant's (two labels in front, reserved or impossible name): never
 * a partial match. `malformed` is everything that is no host name: absent, an IP literal, bad labels.
 */
export type ParsedHost =
  | { readonly kind: "apex"; readonly host: string; readonly base: string }
  | { readonly kind: "relay"; readonly host: string; readonly base: string }
  | { readonly kind: "tenant"; readonly host: string; readonly base: string; readonly slug: string }
  | {
      readonly kind: "target";
      readonly host: string;
      readonly base: string;
      readonly slug: string;
      readonly target: string;
      /** The tenant's own host, under which the directory has its record. */
      readonly tenantHost: string;
    }
  | { readonly kind: "custom"; readonly host: string }
  | { readonly kind: "unknown"; readonly host: string }
  | { readonly kind: "malformed" };

const MAX_HOST_LENGTH = 253; // RFC 1035, section 2.3.4, in text form without the root's dot
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/; // RFC 1123, section 2.1

/**
 * Whether a Host header is literally a host with or without a port: a name of letters, digits, hyphens, dots and underscores, or a bracketed
 * address. The rest that RFC 3986 allows (percent-encoding, sub-delimiters) and what a URL parser repairs (a path, a user, other scripts'
 * letters) is where two readers come to different hosts.
 */
export function isHostField(raw: string): boolean {
  const [found, port = ""] = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?$/.exec(raw) ?? [];
  return found !== undefined && Number(port) <= 65_535;
}

/** Host name in canonical form, or null: accepts upper case, a port, and one trailing dot; refuses IP literals and bad labels. */
export function canonicalHost(raw: string): string | null {
  // host [":" port]; the port may be empty (RFC 3986, section 3.2.3). Brackets, "@", "%" and blanks fail on the labels.
  const [, name, port] = /^([^:]*)(?::([0-9]{0,5}))?$/.exec(raw) ?? [];
  if (name === undefined || Number(port ?? "0") > 65_535) return null;
  const host = (name.endsWith(".") ? name.slice(0, -1) : name).toLowerCase();
  if (host.length === 0 || host.length > MAX_HOST_LENGTH) return null;
  const labels = host.split(".");
  if (!labels.every((label) => LABEL.test(label))) return null;
  // A last label of digits only is an IPv4 address in some notation (WHATWG URL, "ends in a number").
  if (/^(?:[0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? "")) return null;
  return host;
}

/**
 * The registered base domains, from a comma-separated setting; the first is the platform's own. Throws on an invalid one: a
 * misconfigured edge must not start.
 */
export function parseBaseDomains(setting: string): readonly [string, ...string[]] {
  const bases = setting
    .split(",")
    .map((base) => base.trim())
    .filter((base) => base !== "")
    .map((base) => {
      const host = canonicalHost(base);
      if (host === null || base.includes(":")) throw new Error(`not a base domain: ${base}`);
      return host;
    });
  const [first, ...others] = bases;
  if (first === undefined) throw new Error("no base domain is set");
  return [first, ...others];
}

/** `bases`: as parseBaseDomains gives them. Where one base lies below another, the longer one wins (D12). */
export function parseHost(raw: string | null, bases: readonly [string, ...string[]]): ParsedHost {
  const host = raw === null ? null : canonicalHost(raw);
  if (host === null) return { kind: "malformed" };
  if (bases.includes(host)) return { kind: "apex", host, base: host };

  let base: string | null = null;
  for (const candidate of bases) {
    if (host.endsWith(`.${candidate}`) && candidate.length > (base?.length ?? 0)) base = candidate;
  }
  if (base === null) return { kind: "custom", host };

  const label = host.slice(0, -base.length - 1);
  if (label === "relay" && base === bases[0]) return { kind: "relay", host, base };
  const split = label.indexOf("--");
  if (split === -1) {
    return parseSlug(label).ok ? { kind: "tenant", host, base, slug: label } : { kind: "unknown", host };
  }
  const target = label.slice(0, split);
  const slug = label.slice(split + 2);
  return parseTarget(target).ok && parseSlug(slug).ok
    ? { kind: "target", host, base, slug, target, tenantHost: `${slug}.${base}` }
    : { kind: "unknown", host };
}

/** Whether a host is only reachable on this machine (RFC 6761, section 6.3, and the loopback addresses). Takes a URL's hostname. */
export function isLoopbackHost(hostname: string): boolean {
  const host = hostname.toLowerCase().replace(/\.$/, "");
  if (host === "localhost" || host.endsWith(".localhost") || host === "[::1]") return true;
  return /^127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$/.test(host);
}
