import { decodeJwt, exportJWK, generateKeyPair } from "jose";
import { expect, test } from "vitest";
import { PROOF_LIFETIME_SECONDS } from "../protocol/proof.ts";
import { LIMITS } from "./limits.ts";
import { createProofSigner } from "./proof.ts";
import { createSigningKey } from "./signing-key.ts";

const START_MS = 1_800_000_000_000;
const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
const key = createSigningKey(JSON.stringify({ ...(await exportJWK(privateKey)), kid: "proof-1" }), undefined);
const acme = { host: "acme.example", tenantId: "ten_acme", nodeId: "nod_1" };

test("a proof says host, tenant and node, and one that is kept is never another's (D4)", async () => {
  const sign = createProofSigner(key, () => START_MS);
  for (const over of [{}, { host: "shop.example" }, { tenantId: "ten_next" }, { nodeId: "nod_2" }]) {
    const of = { ...acme, ...over };
    const proof = await sign(of);
    expect(decodeJwt(proof)).toMatchObject({ host: of.host, tenant: of.tenantId, aud: of.nodeId });
    expect(sign(of)).toBe(proof);
  }
});

test("a proof is kept until little is left of it, and then made anew (D4)", async () => {
  let nowMs = START_MS;
  const sign = createProofSigner(key, () => nowMs);
  const first = await sign(acme);
  nowMs = START_MS + (PROOF_LIFETIME_SECONDS - LIMITS.proofRenewSeconds - 1) * 1_000;
  expect(sign(acme)).toBe(first);
  nowMs += 1_000;
  const next = await sign(acme);
  expect(decodeJwt(next).exp).toBe(nowMs / 1_000 + PROOF_LIFETIME_SECONDS);
  expect(sign(acme)).toBe(next);
});
