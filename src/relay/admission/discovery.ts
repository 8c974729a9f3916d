/** What a connector has to know of a relay beside its address (P04). All of it follows from the origin that was asked. */
export function discoveryDocument(origin: string, software: string): Record<string, unknown> {
  const sockets = origin.replace(/^http/, "ws");
  return {
    issuer: origin,
    token_endpoint: `${origin}/token`,
    connect_endpoints: { a: `${sockets}/connect/a`, b: `${sockets}/connect/b` },
    pairing_endpoint: `${origin}/pair`,
    grant_types_supported: ["client_credentials"],
    token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
    token_endpoint_auth_signing_alg_values_supported: ["EdDSA", "ES256"],
    keep_alive_ms: KEEP_ALIVE_MS,
    reconnect_max_ms: RECONNECT_MAX_MS,
    software,
  };
}

/** Networks forget silent connections after 30 s and more (docs/protocol.md, "Dialling and identity"). */
const KEEP_ALIVE_MS = 25_000;
/** A connector that can't get through tries again once a minute at the latest. */
const RECONNECT_MAX_MS = 60_000;
