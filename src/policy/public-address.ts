import { isInAny, parseAddress } from "./network.ts";

/**
 * Which addresses of somebody else the platform may call for a tenant (webhooks). Everything that is not plainly public is refused, so that
 * nobody gets at the platform's own network through it.
 */

/** IANA's special-purpose registries (RFC 6890 and later), multicast, and what embeds IPv4 addresses. */
const SPECIAL_IPV4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
];
const GLOBAL_IPV6 = ["2000::/3"];
const SPECIAL_IPV6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

/** False also for what is no address. */
export function isPublicAddress(text: string): boolean {
  const parsed = parseAddress(text);
  if (parsed === null) return false;
  if (parsed.family === 4) return !isInAny(text, SPECIAL_IPV4);
  return isInAny(text, GLOBAL_IPV6) && !isInAny(text, SPECIAL_IPV6);
}

/** Names that only mean something inside a network, or on one machine. */
const INSIDE = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home|corp|private|home\.arpa)$/;

export type Destination =
  /** An address, or a name that the platform's operator allows by name. */
  | { readonly kind: "allowed" }
  /** A public name: all of its addresses must be public, too. */
  | { readonly kind: "resolve"; readonly name: string }
  | { readonly kind: "refused"; readonly reason: string };

/**
 * What to make of a URL before it is called. `allowed`: names, `name:port`, addresses and networks that the platform's operator lets through
 * though they are private; http is taken to these only.
 */
export function destinationOf(text: string, allowed: readonly string[]): Destination {
  if (!URL.canParse(text)) return refused("it is not a URL");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return refused("it must be https");
  if (url.username !== "" || url.password !== "") return refused("it must not have a user or a password");
  const name = url.hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  if (allowed.includes(name) || allowed.includes(url.host) || isInAny(name, allowed)) return { kind: "allowed" };
  if (url.protocol !== "https:") return refused("it must be https");
  if (parseAddress(name) !== null)
    return isPublicAddress(name) ? { kind: "allowed" } : refused("its address is not public");
  if (!name.includes(".") || INSIDE.test(name)) return refused("its name is not public");
  return { kind: "resolve", name };
}

/** Whether a resolved name may be called: it has addresses, and not one of them leads inside. */
export const mayCall = (addresses: readonly string[], allowed: readonly string[]): boolean =>
  addresses.length > 0 && addresses.every((address) => isPublicAddress(address) || isInAny(address, allowed));

const refused = (reason: string): Destination => ({ kind: "refused", reason });
