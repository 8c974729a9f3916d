import type { ClientFailure, ClientFailureKind } from "./client-types.ts";

/** A failure before the connection was there, as Node tells it. `tcpDone`: the TLS handshake was under way. */
export function connectFailure(error: NodeJS.ErrnoException, tcpDone: boolean): ClientFailure {
  return failure(tcpDone ? "tls" : connectKind(error.code ?? ""), error.code ?? "unknown", error.message, false);
}

function connectKind(code: string): ClientFailureKind {
  if (code === "ENOTFOUND" || code.startsWith("EAI_") || code === "ENODATA") return "unresolved";
  if (code === "ETIMEDOUT") return "connect-timeout";
  // Certificates and settings that OpenSSL refuses before a byte is sent.
  if (code.startsWith("ERR_TLS") || code.startsWith("ERR_SSL") || code.startsWith("ERR_OSSL")) return "tls";
  return "refused";
}

export const failure = (kind: ClientFailureKind, code: string, message: string, sent: boolean): ClientFailure => ({
  kind,
  code,
  message,
  sent,
});
