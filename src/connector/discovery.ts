import { z } from "zod";
import { ok, type Result } from "../shared/result.ts";
import type { Lane } from "./config.ts";
import type { LinkLoss } from "./ending.ts";
import { call, type Way } from "./http-call.ts";

/** Where a relay's endpoints are and how it wants to be dialled (P04). */
export interface RelayEndpoints {
  /** http or https. */
  readonly token: URL;
  readonly pairing: URL;
  /** ws or wss. */
  readonly connect: Readonly<Record<Lane, URL>>;
  readonly keepAliveMs: number | null;
  readonly reconnectMaxMs: number | null;
}

const DISCOVERY_PATH = "/.well-known/relayserver-configuration";

const endpoint = z.url().max(2048).optional().catch(undefined);
const ms = z.number().int().min(1).nullable().optional().catch(null);
const discoveryDocument = z.object({
  token_endpoint: endpoint,
  pairing_endpoint: endpoint,
  connect_endpoints: z.object({ a: endpoint, b: endpoint }).optional().catch(undefined),
  keep_alive_ms: ms,
  reconnect_max_ms: ms,
});

/** What holds without a document. */
export function defaultEndpoints(relay: URL): RelayEndpoints {
  return {
    token: new URL("/token", relay),
    pairing: new URL("/pair", relay),
    connect: { a: socketUrl(new URL("/connect/a", relay)), b: socketUrl(new URL("/connect/b", relay)) },
    keepAliveMs: null,
    reconnectMaxMs: null,
  };
}

/** Asks the relay. One that has no such document, or a broken one, is taken by the defaults; only the network is an error. */
export async function discover(relay: URL, way: Way): Promise<Result<RelayEndpoints, LinkLoss>> {
  const answer = await call({ url: new URL(DISCOVERY_PATH, relay), method: "GET" }, way);
  if (!answer.ok) return answer;
  const { status, json } = answer.value;
  return ok(status === 200 ? endpointsOf(relay, json) : defaultEndpoints(relay));
}

/** What is missing, wrong or less protected than the relay's own address takes its default. */
export function endpointsOf(relay: URL, document: unknown): RelayEndpoints {
  const defaults = defaultEndpoints(relay);
  const parsed = discoveryDocument.safeParse(document);
  if (!parsed.success) return defaults;
  const { token_endpoint, pairing_endpoint, connect_endpoints, keep_alive_ms, reconnect_max_ms } = parsed.data;
  const secure = relay.protocol === "https:";
  const safe = (text: string | undefined, otherwise: URL, kinds: readonly [secure: string, plain: string]): URL => {
    if (text === undefined) return otherwise;
    const url = new URL(text);
    const plainIsFine = !secure && url.protocol === kinds[1];
    return url.username === "" && url.password === "" && (url.protocol === kinds[0] || plainIsFine) ? url : otherwise;
  };
  const http = ["https:", "http:"] as const;
  const lane = (text: string | undefined, otherwise: URL): URL =>
    socketUrl(safe(text?.replace(/^ws/i, "http"), new URL(otherwise.href.replace(/^ws/, "http")), http));
  return {
    token: safe(token_endpoint, defaults.token, http),
    pairing: safe(pairing_endpoint, defaults.pairing, http),
    connect: {
      a: lane(connect_endpoints?.a, defaults.connect.a),
      b: lane(connect_endpoints?.b, defaults.connect.b),
    },
    keepAliveMs: keep_alive_ms ?? null,
    reconnectMaxMs: reconnect_max_ms ?? null,
  };
}

function socketUrl(url: URL): URL {
  const socket = new URL(url);
  socket.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return socket;
}
