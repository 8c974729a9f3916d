import { join } from "node:path";
import type { CertificateFiles } from "../certificate.ts";
import type { AgentConfig } from "../config.ts";
import type { AcmeConfig } from "./config.ts";

/** Where an ordered pair is kept; from there it goes the way of any operator's files. */
export const acmeFiles = (stateDir: string): CertificateFiles => ({
  certificateFile: join(stateDir, "acme/certificate.pem"),
  keyFile: join(stateDir, "acme/key.pem"),
});

/** Null: this node orders no certificate. */
export const acmeOf = ({ envoy: { tls } }: AgentConfig): AcmeConfig | null =>
  tls !== null && "acme" in tls ? tls.acme : null;

/** Null: this node speaks no TLS. */
export function tlsFilesOf({ stateDir, envoy: { tls } }: AgentConfig): CertificateFiles | null {
  if (tls === null) return null;
  return "acme" in tls ? acmeFiles(stateDir) : tls;
}
