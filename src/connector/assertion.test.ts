import { exportJWK, generateKeyPair, importJWK, jwtVerify } from "jose";
import { expect, test } from "vitest";
import { connectorAssertion } from "../protocol/assertion.ts";
import { createAsserter } from "./assertion.ts";
import { parseCredentials } from "./credentials.ts";

test.each(["EdDSA", "ES256"])("an %s key of a credentials file signs assertions, each of its own", async (alg) => {
  const pair = await generateKeyPair(alg, { extractable: true, ...(alg === "EdDSA" ? { crv: "Ed25519" } : {}) });
  const file = {
    relayUrl: "https://relay.example.com",
    tenant: "acme",
    connector: "plant-1",
    keyId: "key_1",
    privateKey: await exportJWK(pair.privateKey),
  };
  const parsed = parseCredentials(JSON.stringify(file));
  if (!parsed.ok || !("privateKey" in parsed.value)) throw new Error("the file is not taken");
  const { keyId, privateKey } = parsed.value;
  const assertion = createAsserter(
    { keyId, privateKey, subject: "acme/plant-1", audience: "https://relay.example.com" },
    () => Date.now(),
  );
  const [one, other] = await Promise.all([assertion(), assertion()]);
  expect(one).not.toBe(other);
  const key = await importJWK(await exportJWK(pair.publicKey), alg);
  const { payload, protectedHeader } = await jwtVerify(one, key, { audience: "https://relay.example.com" });
  expect(protectedHeader).toEqual({ alg, kid: "key_1" });
  expect(connectorAssertion.parse(payload)).toMatchObject({ iss: "acme/plant-1", sub: "acme/plant-1" });
});
