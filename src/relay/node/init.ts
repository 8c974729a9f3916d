import { createHash, generateKeyPairSync } from "node:crypto";

/** A first configuration with one tenant and one connector, and what that connector needs. Nothing is written here. */
export interface FreshRelay {
  readonly relayYaml: string;
  /** Credentials file of the connector: holds its private key. */
  readonly credentialsJson: string;
  /** Where the tenant's visitors go. */
  readonly visitorsUrl: string;
}

export interface InitOptions {
  readonly baseDomain: string;
  readonly tenant: string;
  readonly connector: string;
  readonly port: number;
}

export function freshRelay({ baseDomain, tenant, connector, port }: InitOptions): FreshRelay {
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const key = { kty: "OKP", crv: "Ed25519", x, d };
  // RFC 7638: the members in this order.
  const keyId = createHash("sha256")
    .update(JSON.stringify({ crv: "Ed25519", kty: "OKP", x }))
    .digest("base64url");
  // Connectors refuse plain http to other machines: of a real domain only https can be meant, in front of this process or in it.
  const local = /(?:^|\.)localhost$/i.test(baseDomain);
  const addressOf = (label: string): string =>
    local ? `http://${label}.${baseDomain}:${port}` : `https://${label}.${baseDomain}`;
  const relayUrl = addressOf("relay");
  const tls = local
    ? `# tls: { certificate: cert.pem, key: key.pem }
# publicScheme: https # something in front ends TLS
# trustedAddressHeader: x-forwarded-for # only behind a proxy that always writes it`
    : `publicScheme: https # a proxy on this machine ends TLS for *.${baseDomain}, and passes Host and WebSockets on
# trustedAddressHeader: x-forwarded-for # if that proxy always writes it
# To end TLS here instead: without publicScheme, visitors: 0.0.0.0:443, and
# tls: { certificate: cert.pem, key: key.pem }`;
  return {
    visitorsUrl: `${addressOf(tenant)}/`,
    credentialsJson: `${JSON.stringify({ relayUrl, tenant, connector, keyId, privateKey: key }, null, 2)}\n`,
    relayYaml: `# causeway relay --config relay.yaml (all settings: docs/relay.md). Read again when it changes.
listen:
  visitors: 127.0.0.1:${port} # connectors dial in here too; give them "connectors: ..." for an address of their own
  admin: 127.0.0.1:${port + 1} # /healthz /readyz /metrics /sessions
baseDomains: [${baseDomain}]
${tls}

tenants:
  ${tenant}:
    # The target "web" is at ${addressOf(`web--${tenant}`)}/ by itself; routes and hosts give it other addresses.
    routes:
      - { prefix: /, target: web }
    # access: token # visitors show a service token: Authorization: Bearer
    # tokens:
    #   ci: { sha256: ... } # printf %s "$TOKEN" | sha256sum
    connectors:
      ${connector}:
        keys:
          - { kty: OKP, crv: Ed25519, x: ${x}, kid: ${keyId} }
        # targets: [web]
`,
  };
}
