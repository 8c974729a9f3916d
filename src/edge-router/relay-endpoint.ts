import { declaredLength } from "./content-length.ts";
import { LIMITS } from "./limits.ts";
import type { EdgePorts, Fetch } from "./ports.ts";

/** Tokens, pairing and discovery, which either lane's Worker answers alike. */
export const isRelayEndpoint = (rawPath: string): boolean =>
  rawPath === "/token" ||
  rawPath === "/pair" ||
  rawPath.startsWith("/pair/") ||
  rawPath === "/.well-known/relayserver-configuration";

type RelayWorkers = Pick<EdgePorts["relay"], "a" | "b">;

/**
 * Asks lane a's Worker and, where that one is away or fails, lane b's: connectors get tokens while a side is redeployed. Repeating is safe, a
 * token that nobody received is worth nothing. Whoever asked to be let in is known only to the lane that took it, so "unknown" is asked twice
 * too. A body of unknown or great length is no request for a token: it is sent once. Rejects when neither can be reached.
 */
export async function askRelayEndpoint(request: Request, relay: RelayWorkers): Promise<Response> {
  const { method, url, headers } = request;
  const declared = declaredLength(headers);
  if (request.body !== null && (declared === null || declared > LIMITS.replayableBodyBytes))
    return await relay.a(request);
  const body = request.body === null ? null : await request.arrayBuffer();
  const ask = async (to: Fetch): Promise<Response | null> => {
    try {
      return await to(new Request(url, { method, headers, body, redirect: "manual" }));
    } catch {
      return null;
    }
  };
  const first = await ask(relay.a);
  if (first !== null && !mayDoBetter(first, new URL(url).pathname)) return first;
  const second = await ask(relay.b);
  if (second !== null && (first === null || !mayDoBetter(second, ""))) {
    first?.body?.cancel().catch(() => undefined);
    return second;
  }
  second?.body?.cancel().catch(() => undefined);
  if (first === null) throw new Error("neither lane's Worker answers");
  return first;
}

const mayDoBetter = ({ status }: Response, path: string): boolean =>
  status >= 500 || (status === 404 && path.startsWith("/pair/"));
