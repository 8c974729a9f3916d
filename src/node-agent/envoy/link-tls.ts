import { isIP } from "node:net";
import { fromFile, typed, type Json } from "./json.ts";
import type { SecretSource, UpstreamTls } from "./resources.ts";
import type { EnvoyPaths } from "./static.ts";

/**
 * TLS between masters and nodes. Both show a certificate of the operator's own authority; each takes the other's only when it names exactly
 * whom it expects. Pure.
 */
export const LINK_CERTIFICATE = { name: "link", file: "link-certificate.json" } as const;
export const LINK_AUTHORITY = { name: "link-authority", file: "link-authority.json" } as const;

/** The secrets file of the authority that signs for both sides, PEM. */
export const renderAuthority = (trusted: string, version: string): Json => ({
  version_info: version,
  resources: [
    typed("envoy.extensions.transport_sockets.tls.v3.Secret", {
      name: LINK_AUTHORITY.name,
      validation_context: { trusted_ca: { inline_string: trusted } },
    }),
  ],
});

/** Names in certificates: `spiffe://...` and the like, addresses, DNS names. */
type SanType =
  UpstreamTls["common_tls_context"]["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"][number]["san_type"];
const sanType = (name: string): SanType => (name.includes("://") ? "URI" : isIP(name) !== 0 ? "IP_ADDRESS" : "DNS");
const exactly = (names: readonly string[]) => names.map((exact) => ({ san_type: sanType(exact), matcher: { exact } }));

const secret = (
  { name, file }: { readonly name: string; readonly file: string },
  secretsDir: string,
): SecretSource => ({
  name,
  sds_config: {
    path_config_source: { path: `${secretsDir}/${file}`, watched_directory: { path: secretsDir } },
    resource_api_version: "V3",
  },
});

/** Both ends are ours. Said for both: Envoy's clients go no higher than 1.2 by themselves. */
const VERSION = { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" } as const;

/** A master's side: the node has to be `host`, as its certificate says. */
export const linkToNode = (host: string, secretsDir: string): UpstreamTls => ({
  sni: isIP(host) === 0 ? host : "", // RFC 6066, section 3: no addresses
  common_tls_context: {
    tls_params: VERSION,
    alpn_protocols: ["h2"],
    tls_certificate_sds_secret_configs: [secret(LINK_CERTIFICATE, secretsDir)],
    combined_validation_context: {
      default_validation_context: { match_typed_subject_alt_names: exactly([host]) },
      validation_context_sds_secret_config: secret(LINK_AUTHORITY, secretsDir),
    },
  },
});

/** A node's side: who comes has to be one of these. */
export const linkFromMasters = (names: readonly string[], { secretsDir }: Pick<EnvoyPaths, "secretsDir">): Json => ({
  name: "envoy.transport_sockets.tls",
  typed_config: typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", {
    require_client_certificate: true,
    // A resumed session would not be checked against names that have changed since.
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
    common_tls_context: {
      tls_params: VERSION,
      alpn_protocols: ["h2"],
      tls_certificate_sds_secret_configs: [
        { name: LINK_CERTIFICATE.name, sds_config: fromFile(secretsDir, LINK_CERTIFICATE.file) },
      ],
      combined_validation_context: {
        default_validation_context: { match_typed_subject_alt_names: exactly(names) },
        validation_context_sds_secret_config: {
          name: LINK_AUTHORITY.name,
          sds_config: fromFile(secretsDir, LINK_AUTHORITY.file),
        },
      },
    },
  }),
});
