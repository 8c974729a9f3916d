import { exportJWK, generateKeyPair } from "jose";
import { expect, test } from "vitest";
import { readSessionToken, signSessionToken } from "./session-token.ts";

const NOW_MS = 1_800_000_000_000;
const newKey = async (): Promise<string> => {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  return JSON.stringify({ ...(await exportJWK(privateKey)), kid: "session-1" });
};
const ann = {
  tenantId: "ten_acme",
  accountId: "usr_ann",
  sessionId: "ses_1",
  accessRevision: 0,
  role: "owner" as const,
  email: "ann@acme.example",
  since: null,
};

test("a token is renewed for its own tenant only, and by the key that signed it (G05)", async () => {
  const key = await newKey();
  const { token } = await signSessionToken(key, ann, NOW_MS);
  expect(await readSessionToken(key, token, "ten_acme", NOW_MS)).toMatchObject({ aud: "ten_acme", sub: "usr_ann" });
  expect(await readSessionToken(key, token, "ten_globex", NOW_MS)).toBeNull();
  expect(await readSessionToken(await newKey(), token, "ten_acme", NOW_MS)).toBeNull();
});
