import type { HeaderList } from "../../http1/types.ts";

const KEY = /^[A-Za-z0-9+/]{22}==$/;
const PROTOCOLS = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*$/;

/**
 * What is wrong with a client's WebSocket handshake (RFC 6455, section 4.2.1), as a sentence; null: nothing. Looked at before anything is done
 * for it, so that the answer is an error of ours and no target has taken a connection for nobody.
 */
export function handshakeFault(headers: HeaderList): string | null {
  const key: string[] = [];
  const version: string[] = [];
  const protocols: string[] = [];
  const found: Readonly<Record<string, string[]>> = {
    "sec-websocket-key": key,
    "sec-websocket-version": version,
    "sec-websocket-protocol": protocols,
  };
  for (const [name, value] of headers) found[name.toLowerCase()]?.push(value);
  if (key.length !== 1 || !KEY.test(key[0] ?? "")) return "A WebSocket's handshake has one Sec-WebSocket-Key.";
  if (version.length !== 1 || version[0] !== "13") return "A WebSocket's handshake has Sec-WebSocket-Version: 13.";
  if (protocols.length === 0) return null;
  const offered = protocols.join(",");
  const names = offered.split(",").map((name) => name.trim());
  return PROTOCOLS.test(offered) && new Set(names).size === names.length
    ? null
    : "Sec-WebSocket-Protocol is a list of different names.";
}
