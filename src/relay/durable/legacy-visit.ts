import { HEADER } from "../../protocol/headers.ts";
import type { LaneVisit } from "../../protocol/visit.ts";

/** What an edge of the version before said in headers of their own. */
export function legacyVisit(request: Request): LaneVisit | null {
  const target = request.headers.get(HEADER.target);
  if (target === null) return null;
  const url = new URL(request.url);
  return {
    requestId: request.headers.get(HEADER.requestId) ?? "",
    target,
    prefix: request.headers.get(HEADER.prefix) ?? "",
    path: request.url.slice(url.origin.length),
    host: url.host,
    scheme: url.protocol === "https:" ? "https" : "http",
    clientAddress: request.headers.get("x-forwarded-for"),
    traceparent: request.headers.get("traceparent") ?? "",
    withoutCookies: false,
    urgency: 3,
    firstByteMs: null,
    idleMs: null,
    totalMs: null,
    trace: false,
  };
}
