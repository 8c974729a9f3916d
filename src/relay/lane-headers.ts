import { HOP_BY_HOP, WEBSOCKET_HANDSHAKE } from "../policy/hop-by-hop.ts";
import { HEADER } from "../protocol/headers.ts";
import type { HeaderList } from "../protocol/tunnel/session.ts";

/** Of one hop, and what the runtime has answered or will answer by itself. */
const THIS_HOP: ReadonlySet<string> = new Set([...HOP_BY_HOP, ...WEBSOCKET_HANDSHAKE, "expect"]);
const FOR_THE_LANE: ReadonlySet<string> = new Set([HEADER.target, HEADER.prefix, "host"]);

const listed = (connection: string | null): Set<string> =>
  new Set((connection ?? "").split(",").map((name) => name.trim().toLowerCase()));

/** The visitor's fields for the target, Host first. */
export function requestFields(request: Request, host: string): HeaderList {
  const perConnection = listed(request.headers.get("connection"));
  const fields: [string, string][] = [["host", host]];
  for (const [name, value] of request.headers) {
    if (!THIS_HOP.has(name) && !FOR_THE_LANE.has(name) && !perConnection.has(name)) fields.push([name, value]);
  }
  return fields;
}

/** The target's fields for the visitor. A target can't speak in our name. */
export function responseHeaders(fields: HeaderList): Headers {
  const perConnection = listed(fields.find(([name]) => name.toLowerCase() === "connection")?.[1] ?? null);
  const headers = new Headers();
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    if (THIS_HOP.has(lower) || perConnection.has(lower) || lower.startsWith("causeway-")) continue;
    headers.append(name, value);
  }
  return headers;
}
