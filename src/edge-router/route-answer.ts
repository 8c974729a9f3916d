import type { TenantRoute } from "../policy/record.ts";
import { redirectLocation } from "../policy/route.ts";
import type { Visit } from "./visit.ts";

type Redirect = Extract<TenantRoute["to"], { kind: "redirect" }>;
type Fixed = Extract<TenantRoute["to"], { kind: "answer" }>;

/** Statuses whose answers have no body (RFC 9110, section 6.4.1). */
const BODILESS = new Set([204, 205, 304]);

/** An answer that the edge gives itself, because the route says so. Not an error of ours, whatever its status. */
export function answerHere(visit: Visit, to: Redirect | Fixed, rest: string): Response {
  // It would wait forever for whoever reads it.
  visit.body?.cancel().catch(() => undefined);
  if (to.kind === "redirect") {
    const location = redirectLocation(to, rest, visit.rawQuery, `${visit.scheme}://${visit.hostWithPort}`);
    return new Response(null, { status: to.status, headers: { location, "cache-control": "no-store" } });
  }
  const isEmpty = BODILESS.has(to.status) || to.body === "";
  return new Response(isEmpty || visit.method === "HEAD" ? null : to.body, {
    status: to.status,
    headers: isEmpty ? {} : { "content-type": to.contentType, "x-content-type-options": "nosniff" },
  });
}
