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
