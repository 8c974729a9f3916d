import type { HeaderList } from "../../protocol/tunnel/session.ts";

export interface Redirected {
  readonly method: string;
  /** Path and query at the same origin. */
  readonly path: string;
  /** False: without the body, and without the fields that describe it. */
  readonly keepBody: boolean;
}

const DESCRIBES_BODY =
  /^(?:content-(?:type|encoding|language|location|length|disposition)|(?:repr-|content-)?digest)$/i;
export const withoutBodyFields = (headers: HeaderList): HeaderList =>
  headers.filter(([name]) => !DESCRIBES_BODY.test(name));

/**
 * The request that a redirect within the origin asks for (RFC 9110, section 15.4); null: it is the visitor's to follow. A POST becomes a GET
 * on 301 and 302 as every browser does it, anything but HEAD on 303; 307 and 308 repeat method and body, which needs a body that is still
 * there. `body`: "kept" can be sent again, "gone" can't.
 */
export function redirected(
  request: { readonly method: string; readonly path: string; readonly body: "none" | "kept" | "gone" },
  status: number,
  location: string | null,
  origin: URL,
): Redirected | null {
  if (location === null || ![301, 302, 303, 307, 308].includes(status)) return null;
  const here = new URL(origin.origin + request.path).href;
  if (!URL.canParse(location, here)) return null;
  const there = new URL(location, here);
  if (there.origin !== origin.origin || there.username !== "" || there.password !== "") return null;
  const path = there.pathname + there.search;
  const { method, body } = request;
  if (body === "gone") return null;
  const toGet = status === 303 ? method !== "HEAD" && method !== "GET" : status < 303 && method === "POST";
  return toGet ? { method: "GET", path, keepBody: false } : { method, path, keepBody: body === "kept" };
}
