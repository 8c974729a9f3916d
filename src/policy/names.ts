import { err, ok, type Result } from "../shared/result.ts";

/**
 * Rules for names that become labels of hosts (decision D7). Console, edge and relay share them, so that a name that one accepts is never
 * one that another refuses.
 */

/** Labels in front of a base domain that belong to the platform. Names of nodes and clusters are added by the caller, who knows them. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set(
  [
    // hosts of ours, now or planned
    "www auth api admin relay manager app connectors mail status portal console account accounts assets blog cdn",
    "connect dashboard docs edge help login logout master mqtt node nodes oauth queue register sign-in sign-out sign-up",
    "signin signup sso static support trace internal system default causeway",
    // names that mail systems, certificate authorities and browsers look for (RFC 2142, RFC 8461, WPAD)
    "abuse autoconfig autodiscover ftp hostmaster imap isatap localhost mta-sts ns1 ns2 pop postmaster root security",
    "smtp webmaster webmail wpad",
  ].flatMap((line) => line.split(" ")),
);

/** What can be wrong with a name, with one sentence for people. */
export const NAME_PROBLEM_TEXT = {
  "too-short": "The name is too short.",
  "too-long": "The name is too long.",
  "bad-characters": "Only lower-case letters a-z, digits and hyphens are allowed.",
  "double-hyphen": "Two hyphens in a row are not allowed.",
  "must-start-with-a-letter": "The name must start with a letter.",
  "edge-hyphen": "The name must not start or end with a hyphen.",
  reserved: "This name is reserved.",
} as const;
export type NameProblem = keyof typeof NAME_PROBLEM_TEXT;

export const SLUG_LENGTH = { min: 3, max: 40 } as const;
export const TARGET_LENGTH = { min: 1, max: 20 } as const;

/**
 * A tenant's slug: 3-40 of `[a-z0-9-]`, no `--`, starts with a letter, does not end in `-`, not reserved. Upper case is refused, not
 * folded. `alsoReserved`: names of nodes and clusters.
 */
export function parseSlug(text: string, alsoReserved: Iterable<string> = []): Result<string, NameProblem> {
  if (text.length < SLUG_LENGTH.min) return err("too-short");
  if (text.length > SLUG_LENGTH.max) return err("too-long");
  if (!/^[a-z0-9-]*$/.test(text)) return err("bad-characters");
  if (text.includes("--")) return err("double-hyphen");
  if (!/^[a-z]/.test(text)) return err("must-start-with-a-letter");
  if (text.endsWith("-")) return err("edge-hyphen");
  if (RESERVED_NAMES.has(text)) return err("reserved");
  for (const name of alsoReserved) if (name === text) return err("reserved");
  return ok(text);
}

/** Announced by a connector: it serves every name that no connector of the tenant announces. No visitor can ask for it. */
export const CATCH_ALL = "*";

/**
 * A target's name: 1-20 of `[a-z0-9-]`, no `--`, no hyphen at an end, not `xn`; so `<target>--<slug>` is one label (20 + 2 + 40 < 63), splits
 * in one way only, and is never an internationalised one (`xn--`).
 */
export function parseTarget(text: string): Result<string, NameProblem> {
  if (text.length < TARGET_LENGTH.min) return err("too-short");
  if (text.length > TARGET_LENGTH.max) return err("too-long");
  if (!/^[a-z0-9-]*$/.test(text)) return err("bad-characters");
  if (text.includes("--")) return err("double-hyphen");
  if (text.startsWith("-") || text.endsWith("-")) return err("edge-hyphen");
  if (text === "xn") return err("reserved");
  return ok(text);
}
