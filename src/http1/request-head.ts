import type { ClientRequest } from "./client-types.ts";
import { isFieldValue, isPath, kindOf } from "./fields.ts";

/** Methods whose requests usually carry a body: without one they say so (RFC 9110, section 8.6). */
const WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

/** The head of a request as text, up to and with its empty line. Null: something of it can't be sent. `host`: used if the list has none. */
export function requestHead(request: ClientRequest, host: string): string | null {
  const { method, path, headers, body, upgrade } = request;
  if (kindOf(method) === "bad" || method === "CONNECT" || !isPath(path)) return null;
  let text = `${method} ${path} HTTP/1.1\r\n`;
  let hosts = 0;
  for (const [name, value] of headers) {
    const kind = kindOf(name);
    if (kind === "owned" || kind === "length" || kind === "expect" || kind === "upgrade") continue;
    if (kind === "bad" || !isFieldValue(value)) return null;
    if (kind === "host") {
      hosts += 1;
      if (hosts > 1) return null;
    }
    text += `${name}: ${value}\r\n`;
  }
  if (hosts === 0) text += `Host: ${host}\r\n`;
  if (upgrade !== undefined) {
    if (body !== "none" || kindOf(upgrade) === "bad") return null;
    return `${text}Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n\r\n`;
  }
  if (body === "chunked") return `${text}Transfer-Encoding: chunked\r\n\r\n`;
  if (body === "none") return WITH_BODY.has(method) ? `${text}Content-Length: 0\r\n\r\n` : `${text}\r\n`;
  const length = typeof body === "number" ? body : body.length;
  if (!Number.isSafeInteger(length) || length < 0) return null;
  return `${text}Content-Length: ${length}\r\n\r\n`;
}
