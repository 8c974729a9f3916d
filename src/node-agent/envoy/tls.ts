import { X509Certificate, createPrivateKey } from "node:crypto";
import { err, ok, type Result } from "../../shared/result.ts";
import { LIMITS } from "../limits.ts";
import { fromFile, typed, type Json } from "./json.ts";
import type { EnvoyPaths } from "./static.ts";

/**
 * TLS of a node's listeners. The certificate is a secret of its own (SDS) in a file that Envoy watches: the agent checks a new pair, then
 * replaces the file; new connections get the new certificate, open ones stay.
 */
export const CERTIFICATE_FILE = "certificate.json";
const CERTIFICATE = "node";

export interface CertificatePair {
  /** PEM: the certificate, then what signed it. */
  readonly chain: string;
  /** PEM, not encrypted. */
  readonly key: string;
}

/** When it ends, or a sentence about why Envoy should not get it. `nowMs`: of the wall's clock. */
export function checkPair(
  { chain, key }: CertificatePair,
  nowMs: number,
): Result<{ readonly endsAtMs: number }, string> {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(chain);
  } catch {
    return err("the certificate is not valid PEM");
  }
  try {
    if (!certificate.checkPrivateKey(createPrivateKey(key))) return err("the key is not that of the certificate");
  } catch {
    return err("the key is not valid PEM, or encrypted");
  }
  const endsAtMs = Date.parse(certificate.validTo);
  if (endsAtMs <= nowMs) return err(`the certificate ended at ${certificate.validTo}`);
  if (Date.parse(certificate.validFrom) > nowMs + LIMITS.certificateSkewMs)
    return err(`the certificate begins at ${certificate.validFrom}`);
  return ok({ endsAtMs });
}

/** The secrets file. Holds the key. `name`: default, the listeners' own. */
export const renderCertificate = ({ chain, key }: CertificatePair, version: string, name = CERTIFICATE): Json => ({
  version_info: version,
  resources: [
    typed("envoy.extensions.transport_sockets.tls.v3.Secret", {
      name,
      tls_certificate: { certificate_chain: { inline_string: chain }, private_key: { inline_string: key } },
    }),
  ],
});

/** A secrets file with nothing in it: Envoy wants a file to be there, and goes on waiting. */
export const NO_CERTIFICATE: Json = { version_info: "none", resources: [] };

type Fields = { readonly [key: string]: Json };

/** The certificate as the agent gives it, and as it stands in files of the operator. */
export const certificateFrom = ({ secretsDir }: Pick<EnvoyPaths, "secretsDir">): Fields => ({
  tls_certificate_sds_secret_configs: [{ name: CERTIFICATE, sds_config: fromFile(secretsDir, CERTIFICATE_FILE) }],
});
export const certificateIn = (certificateFile: string, keyFile: string): Fields => ({
  tls_certificates: [{ certificate_chain: { filename: certificateFile }, private_key: { filename: keyFile } }],
});

/** A listener's side of TLS 1.2 and later. `alpn`: what it speaks. */
export const downstreamTls = (alpn: readonly string[], certificate: Fields, requireSni: boolean): Json => ({
  name: "envoy.transport_sockets.tls",
  typed_config: typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", {
    require_sni: requireSni,
    common_tls_context: {
      tls_params: { tls_minimum_protocol_version: "TLSv1_2" },
      alpn_protocols: alpn,
      ...certificate,
    },
  }),
});
