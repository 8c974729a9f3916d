/** What went wrong below HTTP, as people look for it: name, port, wire, certificate. */
export type NetworkFault = "unresolved" | "refused" | "timeout" | "tls" | "reset";

export interface NetworkError {
  readonly fault: NetworkFault;
  /** The system's or library's code, for logs. */
  readonly code: string;
  readonly message: string;
}

const FAULTS: Readonly<Record<string, NetworkFault>> = {
  ENOTFOUND: "unresolved",
  EAI_AGAIN: "unresolved",
  EAI_FAIL: "unresolved",
  EAI_NODATA: "unresolved",
  ECONNREFUSED: "refused",
  EHOSTUNREACH: "refused",
  ENETUNREACH: "refused",
  EHOSTDOWN: "refused",
  ENETDOWN: "refused",
  EADDRNOTAVAIL: "refused",
  EACCES: "refused",
  ETIMEDOUT: "timeout",
  UND_ERR_CONNECT_TIMEOUT: "timeout",
  UND_ERR_HEADERS_TIMEOUT: "timeout",
  UND_ERR_BODY_TIMEOUT: "timeout",
  EPROTO: "tls",
  DEPTH_ZERO_SELF_SIGNED_CERT: "tls",
  SELF_SIGNED_CERT_IN_CHAIN: "tls",
  HOSTNAME_MISMATCH: "tls",
  CRL_HAS_EXPIRED: "tls",
};
const TLS_CODE = /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|INVALID_CA|ERROR_IN_CERT)/;

/** What is the matter with a TLS connection; null: no more is known than that it failed. */
export type TlsProblem =
  | "expired"
  | "not-yet-valid"
  | "other-name"
  | "untrusted"
  | "revoked"
  | "handshake-refused"
  | "version"
  | "no-tls"
  | null;

/** By OpenSSL's and Node's codes. */
const TLS_PROBLEMS: readonly (readonly [code: RegExp, problem: TlsProblem])[] = [
  [/CERT_HAS_EXPIRED/, "expired"],
  [/CERT_NOT_YET_VALID/, "not-yet-valid"],
  [/ALTNAME|HOSTNAME_MISMATCH/, "other-name"],
  [/SELF_SIGNED|UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY|CERT_UNTRUSTED|INVALID_CA/, "untrusted"],
  [/CERT_REVOKED|CRL_/, "revoked"],
  [/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE/, "handshake-refused"],
  // What a server without TLS says is read as a record of an odd version or length.
  [/WRONG[_ ]VERSION|PACKET_LENGTH/, "no-tls"],
  [/VERSION/, "version"],
  [/EPROTO|WRONG/, "no-tls"],
];

export function tlsProblem({ code, message }: { readonly code: string; readonly message: string }): TlsProblem {
  return TLS_PROBLEMS.find(([known]) => known.test(code) || known.test(message.toUpperCase()))?.[1] ?? null;
}

const TLS_TEXT: Readonly<Record<NonNullable<TlsProblem>, string>> = {
  expired: "its certificate has expired",
  "not-yet-valid": "its certificate is not valid yet",
  "other-name": "its certificate is for another name",
  untrusted: "its certificate is not trusted here",
  revoked: "its certificate is revoked, or that could not be found out",
  "handshake-refused": "it refused the handshake",
  version: "it speaks no version of TLS that is spoken here",
  "no-tls": "it does not speak TLS on this port",
};
const FAULT_TEXT: Readonly<Record<NetworkFault, string>> = {
  unresolved: "this name is not known",
  refused: "it could not be reached",
  timeout: "no answer in time",
  tls: "the TLS handshake failed",
  reset: "the connection was cut",
};
const CODE_TEXT: Readonly<Record<string, string>> = {
  EAI_AGAIN: "no DNS server answers",
  ECONNREFUSED: "nothing takes connections there",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no way to it",
  EACCES: "this machine does not allow the connection",
};

/** What the system or a library said, for people, with the code and the address or names that it gave. */
export function plainWords({ fault, code, message }: NetworkError): string {
  if (code === "timeout" || code === "unknown" || code.startsWith("HPE_")) return message;
  const problem = fault === "tls" ? tlsProblem({ code, message }) : null;
  const words = problem === null ? (CODE_TEXT[code] ?? FAULT_TEXT[fault]) : TLS_TEXT[problem];
  const names = problem === "other-name" ? (message.match(/\b(?:DNS|IP Address):[^,\s]+/g) ?? []) : [];
  const address = / ([^ ]+:[0-9]+)$/.exec(message)?.[1] ?? names.slice(0, 3).join(", ");
  return `${words} (${address === "" ? code : `${address}, ${code}`})`;
}

/** Everything that net, tls, http, undici and ws throw; what is not known is a reset: the connection did not live to the end. */
export function networkError(thrown: unknown): NetworkError {
  const error = deepest(thrown);
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  const fault = FAULTS[code] ?? (TLS_CODE.test(code) ? "tls" : "reset");
  return { fault, code: code === "" ? "unknown" : code, message };
}

/** Happy eyeballs reports one error for all addresses: the first that we can name speaks for it. */
function deepest(thrown: unknown): unknown {
  if (thrown instanceof AggregateError) {
    const errors: readonly unknown[] = thrown.errors;
    return errors.find((error) => codeOf(error) in FAULTS) ?? errors[0] ?? thrown;
  }
  if (codeOf(thrown) === "" && thrown instanceof Error && thrown.cause instanceof Error) return deepest(thrown.cause);
  return thrown;
}

function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}
