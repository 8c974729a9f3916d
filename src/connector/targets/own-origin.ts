import type { HeaderList } from "../../protocol/tunnel/session.ts";
import { valuesOf } from "./target-headers.ts";

/**
 * The fields with the target's own address as `Origin`, for applications that compare it with `Host`; null: there is nothing to change.
 * Only the Origin of a page of the very host that the visitor asked for is changed, so that a foreign page stays one.
 *
 * @param url the target's
 * @param request as the relay gave them: X-Forwarded-Host and -Proto are the relay's own, never a visitor's
 * @param fields as the target gets them otherwise
 */
export function withOwnOrigin(url: URL, request: HeaderList, fields: HeaderList): HeaderList | null {
  const [origin, another] = valuesOf(fields, "origin");
  if (origin === undefined || another !== undefined) return null;
  const [scheme] = valuesOf(request, "x-forwarded-proto");
  const [visitorHost] = valuesOf(request, "x-forwarded-host");
  if (scheme === undefined || visitorHost === undefined) return null;
  const visitor = `${scheme}://${visitorHost}`;
  if (!URL.canParse(origin) || !URL.canParse(visitor)) return null;
  if (new URL(origin).origin !== new URL(visitor).origin) return null;
  const [host = url.host] = valuesOf(fields, "host");
  const own = `${url.protocol}//${host}`;
  if (own === origin) return null;
  return fields.map(([name, value]) => (name.toLowerCase() === "origin" ? [name, own] : [name, value]));
}
