import { createSecureContext, type SecureContext, type TlsOptions } from "node:tls";

/** A certificate that can be replaced while the server runs. */
export interface ReplaceableTls {
  readonly options: TlsOptions;
  replace(pem: { readonly cert: string; readonly key: string }): void;
}

const MIN_VERSION = "TLSv1.2";

export function tlsOptions(first: { readonly cert: string; readonly key: string }): ReplaceableTls {
  let context: SecureContext = createSecureContext({ ...first, minVersion: MIN_VERSION });
  return {
    // Clients that name no host (an address was dialled) get the first certificate until a restart.
    options: { ...first, minVersion: MIN_VERSION, SNICallback: (_name, done) => done(null, context) },
    replace(pem) {
      context = createSecureContext({ ...pem, minVersion: MIN_VERSION });
    },
  };
}
