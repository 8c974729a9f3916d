import { expect, test } from "vitest";
import { proofRecords } from "../policy/custom-host.ts";
import { err, ok } from "../shared/result.ts";
import type { DnsLookup } from "./dns-over-https.ts";
import { lookForProof } from "./host-proof.ts";

const claim = { host: "www.shop.example", token: "a".repeat(40) };
const BASE = "causeway.example";
const { txt, cname } = proofRecords(claim.host, claim.token, BASE);

/** A resolver that knows these records, `"TXT name": values`; an answer of null is a failure. Counts the questions. */
function resolver(zone: Record<string, readonly string[] | null>): { lookup: DnsLookup; asked: string[] } {
  const asked: string[] = [];
  const lookup: DnsLookup = async (name, type) => {
    asked.push(`${type} ${name}`);
    const found = zone[`${type} ${name}`];
    if (found === null) return err("the DNS resolver answered SERVFAIL");
    const values = found ?? [];
    return type === "TXT"
      ? ok({ txt: values, cnames: new Map(), addresses: [] })
      : ok({ txt: [], cnames: new Map(values.map((value) => [name, value])), addresses: [] });
  };
  return { lookup, asked };
}
const verdict = (zone: Parameters<typeof resolver>[0]) =>
  lookForProof(resolver(zone).lookup, claim, [BASE, "causeway.test"]);

test("either record proves the host, and one is enough", async () => {
  const one = resolver({ [`TXT ${txt.name}`]: ["something else", ` ${txt.value} `] });
  expect(await lookForProof(one.lookup, claim, [BASE])).toEqual({ kind: "proven", method: "txt" });
  expect(one.asked).toEqual([`TXT ${txt.name}`]);
  expect(await verdict({ [`CNAME ${cname.name}`]: [cname.value] })).toEqual({ kind: "proven", method: "cname" });
  const below = (base: string) => proofRecords(claim.host, claim.token, base).cname.value;
  expect(await verdict({ [`CNAME ${cname.name}`]: [below("causeway.test")] })).toMatchObject({ kind: "proven" });
  expect(await verdict({ [`CNAME ${cname.name}`]: [below("elsewhere.test")] })).toMatchObject({ kind: "missing" });
  expect(await verdict({ [`TXT ${txt.name}`]: null, [`CNAME ${cname.name}`]: [cname.value] })).toMatchObject({
    kind: "proven",
  });
});

test("a chain of aliases proves it as well, a ring of them ends", async () => {
  const chain = { "CNAME www.shop.example": ["shop.cdn.example"], "CNAME shop.cdn.example": [cname.value] };
  expect(await verdict(chain)).toEqual({ kind: "proven", method: "cname" });
  const ring = { "CNAME www.shop.example": ["a.example"], "CNAME a.example": ["www.shop.example"] };
  expect(await verdict(ring)).toMatchObject({ kind: "missing" });
});

test("another tenant's or an older token proves nothing, nor does the tenant's own host", async () => {
  const other = proofRecords(claim.host, "b".repeat(40), BASE);
  expect(await verdict({ [`TXT ${txt.name}`]: [other.txt.value] })).toEqual({
    kind: "missing",
    reason: `the TXT record at ${txt.name} has another value, and www.shop.example has no CNAME`,
  });
  expect(await verdict({ "CNAME www.shop.example": [other.cname.value] })).toMatchObject({ kind: "missing" });
  expect(await verdict({ "CNAME www.shop.example": ["acme.causeway.example"] })).toEqual({
    kind: "missing",
    reason: `there is no TXT record at ${txt.name}, and the CNAME of www.shop.example leads to acme.causeway.example`,
  });
  expect(await verdict({ [`TXT ${txt.name}`]: [`${txt.value}x`, `x${txt.value}`] })).toMatchObject({ kind: "missing" });
});

test("a resolver that fails says nothing about the proof", async () => {
  expect(await verdict({ [`TXT ${txt.name}`]: null })).toMatchObject({ kind: "unknown" });
  expect(await verdict({ "CNAME www.shop.example": null })).toMatchObject({ kind: "unknown" });
});
