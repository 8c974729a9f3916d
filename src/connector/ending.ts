import { CLOSE } from "../protocol/tunnel/close-codes.ts";
import { plainWords, tlsProblem, type NetworkError } from "./network-errors.ts";

/** Why a link is not there: how the dial failed or the socket ended. `text` is for people, without secrets. */
export type LinkLoss =
  /** The credential was refused, or ended. Asking again does not help until somebody acts. */
  | { readonly kind: "auth"; readonly text: string }
  /** This program is too old or too new for the relay. */
  | { readonly kind: "version"; readonly text: string }
  /** Another socket of the same instance took over. */
  | { readonly kind: "replaced"; readonly text: string }
  /** Everything that may be over soon: dial again. */
  | { readonly kind: "retry"; readonly text: string; readonly retryAfterMs: number | null };

export interface Refusal {
  readonly status: number;
  readonly retryAfterMs: number | null;
  /** What the relay's problem details say, or "". */
  readonly detail: string;
  /** The relay's clock minus ours; null when it does not tell. */
  readonly clockDifferenceMs: number | null;
}

/** Assertions live for a minute and clocks may differ by another one; beyond half of it the clock is worth a word. */
const CLOCK_DIFFERENCE_WORTH_TELLING_MS = 30_000;

/** An answer other than 101 to the upgrade. */
export function lossOfRefusal(refusal: Refusal): LinkLoss {
  const { status, detail, retryAfterMs } = refusal;
  const says = detail === "" ? `status ${status}` : `${detail} (status ${status})`;
  if (status === 401 || status === 403) {
    return { kind: "auth", text: `the relay refused the credential: ${says}${clockHint(refusal.clockDifferenceMs)}` };
  }
  if (status === 426) return { kind: "version", text: `the relay does not speak this connector's protocol: ${says}` };
  return { kind: "retry", text: `the relay did not take the connection: ${says}`, retryAfterMs };
}

function clockHint(differenceMs: number | null): string {
  if (differenceMs === null || Math.abs(differenceMs) < CLOCK_DIFFERENCE_WORTH_TELLING_MS) return "";
  const seconds = Math.round(Math.abs(differenceMs) / 1000);
  return `; this machine's clock is ${seconds} s ${differenceMs > 0 ? "behind" : "ahead"}, check the time`;
}

/** The WebSocket ended. `reason` is the peer's or our own. */
export function lossOfClose(code: number, reason: string): LinkLoss {
  const says = reason === "" ? `code ${code}` : `${reason} (code ${code})`;
  switch (code) {
    case CLOSE.unauthorized:
    case CLOSE.revoked:
      return { kind: "auth", text: `the relay ended the connection: ${says}` };
    case CLOSE.replaced:
      return { kind: "replaced", text: reason === "" ? "another process with this instance id connected" : reason };
    case CLOSE.version:
      return { kind: "version", text: `no common protocol version: ${says}` };
    default:
      return { kind: "retry", text: `the connection ended: ${says}`, retryAfterMs: null };
  }
}

const NETWORK_WORDS = {
  unresolved: "the relay's name could not be resolved",
  refused: "the relay could not be reached",
  timeout: "the relay did not answer in time",
  tls: "the TLS connection to the relay failed",
  reset: "the connection to the relay broke",
} as const;

export function lossOfNetwork(error: NetworkError): LinkLoss {
  const trust = error.fault === "tls" && tlsProblem(error) === "untrusted" ? "; --ca FILE adds an authority" : "";
  return { kind: "retry", text: `${NETWORK_WORDS[error.fault]}: ${plainWords(error)}${trust}`, retryAfterMs: null };
}
