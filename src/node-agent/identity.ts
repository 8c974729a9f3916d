import { randomUUID } from "node:crypto";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT } from "jose";
import { z } from "zod";
import { ASSERTION_LIFETIME_SECONDS } from "../protocol/assertion.ts";
import { publicJwk } from "../protocol/jwk.ts";
import { enrolResponse } from "../protocol/node-channel.ts";
import type { Clock } from "../shared/clock.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { nodeCredentials, type NodeCredentials } from "./config.ts";
import type { HttpAnswer } from "./http.ts";

/** What the agent puts into `Authorization: Bearer` when it dials: a short-lived JWT signed with the node's key. */
export async function signAssertion(credentials: NodeCredentials, now: Clock): Promise<string> {
  const key = await importJWK(credentials.key, "EdDSA");
  const seconds = Math.floor(now() / 1000);
  return new SignJWT({ jti: randomUUID() })
    .setProtectedHeader({ alg: "EdDSA", kid: credentials.key.kid })
    .setIssuer(credentials.nodeId)
    .setSubject(credentials.nodeId)
    .setAudience(new URL(credentials.relayUrl).origin)
    .setIssuedAt(seconds)
    .setExpirationTime(seconds + ASSERTION_LIFETIME_SECONDS)
    .sign(key);
}

export const nodeKey = z.object({ private: nodeCredentials.shape.key, public: publicJwk });
export type NodeKey = z.infer<typeof nodeKey>;

/** A new Ed25519 key; its id is its RFC 7638 thumbprint. */
export async function newNodeKey(): Promise<NodeKey> {
  const pair = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { kty, crv, x, d } = await exportJWK(pair.privateKey);
  const kid = await calculateJwkThumbprint(await exportJWK(pair.publicKey));
  return {
    private: nodeCredentials.shape.key.parse({ kty, crv, x, d, kid }),
    public: publicJwk.parse({ kty, crv, x, kid, alg: "EdDSA", use: "sig" }),
  };
}

export type EnrolFailure = { readonly kind: "refused" | "unreachable"; readonly message: string };

/** Registers the key with a one-time token. A repeated call with the same key and token is answered the same. */
export async function enrol(
  relayUrl: string,
  token: string,
  key: NodeKey,
  storeKey: string,
  post: (url: string, body: object) => Promise<HttpAnswer>,
): Promise<Result<NodeCredentials, EnrolFailure>> {
  const url = new URL("/node/enroll", relayUrl).href;
  let answer: HttpAnswer;
  try {
    answer = await post(url, { token, key: key.public });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return err({ kind: "unreachable", message: `${url} can't be reached: ${reason}` });
  }
  if (answer.status === 401 || answer.status === 403) {
    return err({
      kind: "refused",
      message:
        "the enrolment token is not valid, was used already, or has expired; make a new one (causeway nodes token NAME)",
    });
  }
  const parsed = answer.status === 200 ? enrolResponse.safeParse(parseJson(answer.body)) : null;
  if (parsed?.success !== true) {
    return err({ kind: "unreachable", message: `${url} answered ${answer.status} instead of enrolling the node` });
  }
  const { nodeId, node } = parsed.data;
  return ok({ nodeId, node, relayUrl: new URL(relayUrl).origin, key: key.private, storeKey });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
