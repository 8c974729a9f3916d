import { HEADER } from "../protocol/headers.ts";
import type { Logger } from "../shared/log.ts";
import type { Visit } from "./visit.ts";

/** Which requests get a line: all, those that ended with an error (of ours, or status 500 and more), or none. */
export type AccessLogMode = "all" | "errors" | "off";

/** Called once for each request, when its head is there. `firstByteMs`: what it took. */
export type AccessLog = (
  visit: Pick<Visit, "requestId" | "traceparent" | "method" | "parsedHost" | "seen">,
  response: Response,
  firstByteMs: number,
) => void;

export function createAccessLog(log: Logger, mode: AccessLogMode): AccessLog {
  return (visit, response, firstByteMs) => {
    if (mode === "off") return;
    const { status } = response;
    // No error of ours has a status below 400: no need to ask.
    const code = status < 400 ? null : response.headers.get(HEADER.error);
    if (mode === "errors" && code === null && status < 500) return;
    log.info("request", {
      requestId: visit.requestId,
      trace: visit.traceparent.slice(3, 35),
      method: visit.method,
      host: visit.parsedHost.kind === "malformed" ? null : visit.parsedHost.host,
      status,
      code,
      firstByteMs,
      ...visit.seen,
    });
  };
}
