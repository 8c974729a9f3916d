import type { ClientFailure, ClientFailureKind } from "../../http1/client-types.ts";
import type { ResetReason } from "../../protocol/tunnel/session.ts";
import { networkError, tlsProblem, type NetworkFault, type TlsProblem } from "../network-errors.ts";

type Reason = Exclude<ResetReason, "session-lost">;

/** For the site's people, though visitors see it too: what failed and where to look, and no address of the site's network. */
const MEANING: Readonly<Record<ClientFailureKind, { reason: Reason; words: string }>> = {
  unresolved: {
    reason: "target-unresolved",
    words: "its name could not be resolved: check its address, and DNS at the connector",
  },
  refused: {
    reason: "target-refused",
    words: "it refused the connection or could not be reached: is it running, on the port in its address?",
  },
  "connect-timeout": {
    reason: "target-timeout",
    words: "no connection in time: check its address, and firewalls between it and the connector",
  },
  "queue-timeout": { reason: "refused-before-start", words: "no connection to it became free" },
  tls: { reason: "target-tls", words: "the TLS connection to it failed" },
  "reset-before-head": { reason: "target-reset", words: "it closed the connection without an answer" },
  "reset-after-head": { reason: "target-reset", words: "its answer broke off" },
  malformed: {
    reason: "target-reset",
    words: "it did not speak HTTP/1.1: check scheme (http or https) and port in its address",
  },
  "head-too-large": { reason: "target-reset", words: "the header of its answer is too large" },
  "head-timeout": { reason: "target-timeout", words: "it did not answer in time" },
  "body-timeout": { reason: "target-timeout", words: "its answer stood still for too long" },
  "body-mismatch": { reason: "protocol", words: "the request's body is not as long as its content-length says" },
  "invalid-request": { reason: "protocol", words: "the request can't be sent in HTTP/1.1" },
  closed: { reason: "target-reset", words: "the connector let go of it" },
};

const TLS_WORDS: Readonly<Record<NonNullable<TlsProblem>, string>> = {
  expired: "its certificate has expired",
  "not-yet-valid": "its certificate is not valid yet: check the clock of this machine and the target's",
  "other-name": "its certificate is for another name: set tls.serverName to one that it names",
  untrusted: "its certificate is not trusted: name the file of its authority in tls.ca",
  revoked: "its certificate is revoked, or that could not be found out",
  "handshake-refused": "it refused the handshake: it may want tls.certificate and tls.key",
  version: "it speaks no version of TLS that tls.minVersion allows",
  "no-tls": "it does not speak TLS on that port: check scheme and port in its address",
};

/** What the visitor is told. `limitMs`: the time that was exceeded. */
export function targetReset(target: string, failure: ClientFailure, limitMs: number): { reason: Reason; text: string } {
  const { reason, words } = MEANING[failure.kind];
  if (failure.kind === "tls") {
    const problem = tlsProblem(failure);
    return { reason, text: `target "${target}": ${problem === null ? words : TLS_WORDS[problem]}` };
  }
  const limit = failure.kind === "head-timeout" ? ` (${limitMs} ms)` : "";
  return { reason, text: `target "${target}": ${words}${limit}` };
}

const KINDS: Readonly<Record<NetworkFault, ClientFailureKind>> = {
  unresolved: "unresolved",
  refused: "refused",
  timeout: "connect-timeout",
  tls: "tls",
  reset: "reset-before-head",
};
const CODES: Readonly<Record<string, ClientFailureKind>> = {
  UND_ERR_HEADERS_TIMEOUT: "head-timeout",
  UND_ERR_BODY_TIMEOUT: "body-timeout",
  UND_ERR_HEADERS_OVERFLOW: "head-too-large",
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: "body-mismatch",
  UND_ERR_INVALID_ARG: "invalid-request",
  UND_ERR_NOT_SUPPORTED: "invalid-request",
  UND_ERR_DESTROYED: "closed",
  UND_ERR_CLOSED: "closed",
};

/** What ws or undici threw, in the words of our own client. `headSeen`: the answer had begun. */
export function failureOf(thrown: unknown, headSeen: boolean): ClientFailure {
  const { fault, code, message } = networkError(thrown);
  const parse = code.startsWith("HPE_") || message.startsWith("Parse Error");
  const known = CODES[code] ?? (parse ? "malformed" : KINDS[fault]);
  const kind = known === "reset-before-head" && headSeen ? "reset-after-head" : known;
  const unsent = kind === "refused" || kind === "unresolved" || kind === "connect-timeout" || kind === "tls";
  return { kind, code, message, sent: !unsent };
}
