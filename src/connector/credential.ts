import type { PrivateJwk } from "./credentials.ts";

/** How a connector proves who it is. */
export type Credential =
  /** Signs each dial with its own key. */
  | { readonly kind: "key"; readonly keyId: string; readonly privateKey: PrivateJwk }
  /** A secret, for tokens of the relay's own token endpoint. */
  | { readonly kind: "secret"; readonly secret: string }
  /** A client of an outside OpenID issuer that the tenant trusts. */
  | {
      readonly kind: "issuer";
      /** As it names itself; its discovery document names the token endpoint. */
      readonly issuer: URL;
      readonly clientId: string;
      readonly auth:
        | { readonly kind: "secret"; readonly secret: string }
        | { readonly kind: "key"; readonly keyId: string; readonly privateKey: PrivateJwk };
      readonly audience: string | null;
      readonly scope: string | null;
    }
  /** Somebody else keeps a token in this file and renews it. */
  | { readonly kind: "token-file"; readonly path: string };

/** Whether both present the same thing; for reloads. */
export const sameCredential = (a: Credential, b: Credential): boolean => JSON.stringify(a) === JSON.stringify(b);
