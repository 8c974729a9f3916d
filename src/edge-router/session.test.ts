import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { expect, test } from "vitest";
import { createSessionVerifier } from "./session.ts";

const NOW_SECONDS = 1_800_000_000;
const pair = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
const published = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: "session-1" }] });
const verify = createSessionVerifier(published, () => NOW_SECONDS * 1_000);

const token = (over: Record<string, unknown> = {}) =>
  new SignJWT({
    iss: "causeway-portal",
    aud: "ten_acme",
    sub: "usr_ann",
    sid: "ses_1",
    accessRevision: 3,
    iat: NOW_SECONDS - 60,
    exp: NOW_SECONDS + 60,
    ...over,
  })
    .setProtectedHeader({ alg: "EdDSA", kid: "session-1" })
    .sign(pair.privateKey);

test("a session is its own tenant's, whoever asks for another one, be it only to end it (G05)", async () => {
  expect(await verify(await token(), "ten_acme")).toMatchObject({ sub: "usr_ann", sid: "ses_1", accessRevision: 3 });
  expect(await verify(await token(), "ten_globex")).toBeNull();
  expect(await verify(await token({ aud: ["ten_globex"] }), "ten_acme")).toBeNull();
  expect(await verify(await token({ aud: undefined }), "ten_acme")).toBeNull();
});

test("what another part signed with the key, or what has run out, is none", async () => {
  expect(await verify(await token({ iss: "causeway-edge-pass" }), "ten_acme")).toBeNull();
  expect(await verify(await token({ exp: NOW_SECONDS - 1 }), "ten_acme")).toBeNull();
});
