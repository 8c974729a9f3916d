import { readFile } from "node:fs/promises";
import { Agent } from "node:https";
import acme from "acme-client";
import type { CertificatePair } from "../envoy/tls.ts";
import { LIMITS } from "../limits.ts";
import type { Challenges } from "./challenges.ts";

export interface AcmeOrder {
  readonly directoryUrl: string;
  /** CA of a private server's own certificate (PEM file); null: the public ones. */
  readonly caFile: string | null;
  readonly accountKey: string;
  readonly email: string | null;
  readonly names: readonly string[];
}

/** Has a certificate for the names made, with a new key. Rejects with the server's reason. */
export async function orderCertificate(order: AcmeOrder, challenges: Challenges): Promise<CertificatePair> {
  const { directoryUrl, caFile, accountKey, email, names } = order;
  acme.axios.defaults.timeout = LIMITS.acmeRequestMs;
  if (caFile !== null) acme.axios.defaults.httpsAgent = new Agent({ ca: await readFile(caFile) });
  const client = new acme.Client({
    directoryUrl,
    accountKey,
    backoffMin: LIMITS.acmePollMinMs,
    backoffMax: LIMITS.acmePollMaxMs,
    backoffAttempts: LIMITS.acmePolls,
  });
  const [commonName, ...altNames] = names;
  const [key, csr] = await acme.crypto.createCsr(
    { ...(commonName === undefined ? {} : { commonName }), altNames: [...altNames] },
    await acme.crypto.createPrivateEcdsaKey(),
  );
  const chain = await client.auto({
    csr,
    ...(email === null ? {} : { email }),
    termsOfServiceAgreed: true,
    challengePriority: [challenges.type],
    // The server looks for itself, and a node need not see what the world sees.
    skipChallengeVerification: true,
    challengeCreateFn: ({ identifier }, { type, token }, value) => {
      if (type !== challenges.type)
        throw new Error(`the server does not offer ${challenges.type} for ${identifier.value}`);
      return challenges.show(identifier.value, token, value);
    },
    challengeRemoveFn: ({ identifier }, { token }, value) => challenges.remove(identifier.value, token, value),
  });
  return { chain, key: key.toString() };
}
