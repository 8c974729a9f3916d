import { err, ok, type Result } from "../shared/result.ts";
import type { ConnectorInput } from "./config.ts";
import type { Credential } from "./credential.ts";
import { readCredentials, readSecretFile, type KeyCredentials } from "./credentials.ts";

/** Who a connector is, from the files that were named. */
export interface Identity {
  readonly credential: Credential;
  /** Of the credentials file; flags and settings win. */
  readonly relayUrl?: string | undefined;
  readonly tenant?: string | undefined;
  readonly connector?: string | undefined;
  /** The file that the credential came from: state is kept beside it. */
  readonly file: string;
}

type Read = Result<{ readonly identity: Identity; readonly warnings: readonly string[] }, string>;

/**
 * One way to prove who we are: a credentials file (with a key or a secret), a secret file, a token file, or a client of an outside issuer,
 * whose own credential is the secret file or the credentials file's key.
 */
export function readIdentity(input: ConnectorInput): Read {
  const { credentials: file, secretFile, tokenFile, issuer } = input;
  if (issuer !== undefined) return issuerIdentity(input, issuer);
  if (input.clientId !== undefined) return err("--client-id is for an outside issuer: name it with --issuer URL");
  const named = [file, secretFile, tokenFile].filter((path) => path !== undefined);
  if (named.length > 1) return err("name one of --credentials, --secret-file and --token-file");
  if (tokenFile !== undefined) {
    return ok({ identity: { credential: { kind: "token-file", path: tokenFile }, file: tokenFile }, warnings: [] });
  }
  if (secretFile !== undefined) {
    const read = readSecretFile(secretFile);
    if (!read.ok) return read;
    const { secret, warning } = read.value;
    return ok({ identity: { credential: { kind: "secret", secret }, file: secretFile }, warnings: listed(warning) });
  }
  if (file === undefined) {
    return err(
      "say which credentials file: --credentials FILE (or --secret-file FILE, --token-file FILE), or credentials in the --config file",
    );
  }
  const read = readCredentials(file);
  if (!read.ok) return read;
  const { credentials, warning } = read.value;
  const { relayUrl, tenant, connector } = credentials;
  const credential: Credential =
    "clientSecret" in credentials
      ? { kind: "secret", secret: credentials.clientSecret }
      : { kind: "key", ...keyOf(credentials) };
  return ok({ identity: { credential, relayUrl, tenant, connector, file }, warnings: listed(warning) });
}

function issuerIdentity(input: ConnectorInput, text: string): Read {
  const { credentials: file, secretFile, clientId } = input;
  if (!URL.canParse(text)) return err("the issuer is not a URL");
  const issuer = new URL(text);
  const loopback = /^(?:127\.|\[::1\]|localhost$|.*\.localhost$)/.test(issuer.hostname);
  if (issuer.protocol !== "https:" && !(issuer.protocol === "http:" && (loopback || input.allowPlainHttp))) {
    return err("the issuer's address must be an https URL");
  }
  if (issuer.username !== "" || issuer.password !== "") return err("the issuer's URL must not hold a password");
  if (clientId === undefined) return err("say as which client of the issuer: --client-id ID");
  const common = {
    kind: "issuer",
    issuer,
    clientId,
    audience: input.audience ?? null,
    scope: input.scope ?? null,
  } as const;
  if (secretFile !== undefined) {
    const read = readSecretFile(secretFile);
    if (!read.ok) return read;
    const { secret, warning } = read.value;
    const identity = { credential: { ...common, auth: { kind: "secret", secret } as const }, file: secretFile };
    return ok({ identity, warnings: listed(warning) });
  }
  if (file === undefined)
    return err("the issuer wants a credential: --secret-file FILE, or --credentials FILE with a key");
  const read = readCredentials(file);
  if (!read.ok) return read;
  const { credentials, warning } = read.value;
  if ("clientSecret" in credentials)
    return err("for an issuer the credentials file must hold a key; name a secret with --secret-file");
  const { relayUrl, tenant, connector } = credentials;
  const credential = { ...common, auth: { kind: "key", ...keyOf(credentials) } as const };
  return ok({ identity: { credential, relayUrl, tenant, connector, file }, warnings: listed(warning) });
}

const keyOf = ({ keyId, privateKey }: KeyCredentials): Pick<KeyCredentials, "keyId" | "privateKey"> => ({
  keyId,
  privateKey,
});
const listed = (warning: string | null): readonly string[] => (warning === null ? [] : [warning]);
