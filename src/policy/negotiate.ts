/**
 * Whether a client wants a page rather than JSON for an error of ours: only when it names `text/html` (or XHTML) and prefers it to JSON.
 * A wildcard alone is an API client or curl.
 */
export function prefersHtml(accept: string | null): boolean {
  if (accept === null) return false;
  let html = 0;
  let json = 0;
  for (const part of accept.toLowerCase().split(",")) {
    const [type = "", ...parameters] = part.split(";").map((piece) => piece.trim());
    const q = quality(parameters);
    if (type === "text/html" || type === "application/xhtml+xml") html = Math.max(html, q);
    if (type === "application/json" || type === "application/problem+json") json = Math.max(json, q);
  }
  return html > 0 && html >= json;
}

function quality(parameters: readonly string[]): number {
  const value = parameters.find((parameter) => parameter.startsWith("q="));
  if (value === undefined) return 1;
  const q = Number(value.slice(2));
  return q >= 0 && q <= 1 ? q : 0;
}

/** Whether the request is the navigation of a page, which a redirect to sign-in can serve; not a subresource, a fetch or a form's POST. */
export function isNavigation(method: string, headers: Headers): boolean {
  if (method !== "GET" && method !== "HEAD") return false;
  if (!prefersHtml(headers.get("accept"))) return false;
  // Old browsers do not send it (Fetch Metadata); present ones name "document" or a frame.
  const destination = headers.get("sec-fetch-dest");
  return destination === null || destination === "document" || destination === "iframe";
}
