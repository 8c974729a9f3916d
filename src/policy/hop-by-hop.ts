/** Fields of one hop only (RFC 9110, section 7.6.1) and older ones that are still sent; lower case. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The handshake of a WebSocket belongs to its hop (RFC 6455, section 4); the offered and the chosen subprotocol are the ends' own. */
export const WEBSOCKET_HANDSHAKE: ReadonlySet<string> = new Set([
  "sec-websocket-key",
  "sec-websocket-accept",
  "sec-websocket-version",
  "sec-websocket-extensions",
]);
