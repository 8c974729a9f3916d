import type { HeaderList } from "../../protocol/tunnel/session.ts";
import type { AnswerAbout } from "./types.ts";

/** What an answer says of its way when the visitor asked by `/trace/` (P03). Times in milliseconds. */
export function traceFields(about: AnswerAbout, relaySoftware: string): HeaderList {
  const { lane, connector, instanceId, software, attempts, waitedMs, firstByteMs } = about;
  const timing = [`wait;dur=${waitedMs}`, `target;dur=${firstByteMs}`].join(", ");
  const way = [
    `lane=${lane}`,
    `relay=${quoted(relaySoftware)}`,
    `connector=${quoted(connector)}`,
    `instance=${quoted(instanceId)}`,
    `software=${quoted(software)}`,
    `attempts=${attempts}`,
  ].join("; ");
  return [
    ["server-timing", timing],
    ["causeway-trace", way],
  ];
}

/** A quoted string of RFC 9110, section 5.6.4. A connector says of itself what it likes. */
const quoted = (text: string): string => `"${text.replace(/[^\x20-\x7e]/g, "?").replace(/["\\]/g, "\\$&")}"`;
