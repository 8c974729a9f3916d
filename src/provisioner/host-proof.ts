import { type DnsRecord, proofRecords } from "../policy/custom-host.ts";
import { err, ok, type Result } from "../shared/result.ts";
import type { DnsLookup } from "./dns-over-https.ts";
import { DNS_ALIASES } from "./limits.ts";

/** What DNS says of a claimed host. `unknown`: it can't be told now; nothing changes by that. */
export type Verdict =
  | { readonly kind: "proven"; readonly method: "txt" | "cname" }
  | { readonly kind: "missing"; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

/**
 * Looks for either proof of a host (src/policy/custom-host.ts). `bases`: the cluster's base domains; a CNAME below any of them is good, so that
 * another first one does not undo proofs. Never rejects.
 */
export async function lookForProof(
  lookup: DnsLookup,
  claim: { readonly host: string; readonly token: string },
  bases: readonly [string, ...string[]],
): Promise<Verdict> {
  const { txt, cname } = proofRecords(claim.host, claim.token, bases[0]);
  const wanted = bases.map((base) => proofRecords(claim.host, claim.token, base).cname.value);
  const texts = await lookup(txt.name, "TXT");
  if (texts.ok && texts.value.txt.some((text) => text.trim() === txt.value)) return { kind: "proven", method: "txt" };
  const alias = await aliasOf(lookup, claim.host, wanted);
  if (alias.ok && alias.value !== null && wanted.includes(alias.value)) return { kind: "proven", method: "cname" };
  if (!texts.ok) return { kind: "unknown", reason: texts.error };
  if (!alias.ok) return { kind: "unknown", reason: alias.error };
  return { kind: "missing", reason: `${wordsOnTxt(txt, texts.value.txt)}, and ${wordsOnCname(cname, alias.value)}` };
}

/** Follows aliases from the host until a wanted name, or the last one; null when it has none. */
async function aliasOf(
  lookup: DnsLookup,
  host: string,
  wanted: readonly string[],
): Promise<Result<string | null, string>> {
  let last: string | null = null;
  let cnames: ReadonlyMap<string, string> = new Map();
  for (let hop = 0; hop < DNS_ALIASES; hop++) {
    const name: string = last ?? host;
    // A resolver may have sent several of a chain at once.
    let next = cnames.get(name);
    if (next === undefined) {
      const asked = await lookup(name, "CNAME");
      if (!asked.ok) return err(asked.error);
      ({ cnames } = asked.value);
      next = cnames.get(name);
    }
    if (next === undefined) return ok(last);
    last = next;
    if (wanted.includes(last)) break;
  }
  return ok(last);
}

const wordsOnTxt = ({ name }: DnsRecord, found: readonly string[]): string =>
  found.length === 0 ? `there is no TXT record at ${name}` : `the TXT record at ${name} has another value`;

const wordsOnCname = ({ name }: DnsRecord, found: string | null): string =>
  found === null ? `${name} has no CNAME` : `the CNAME of ${name} leads to ${found}`;
