import { discoveryDocument } from "./discovery.ts";
import { json, refusal, type EndpointPorts } from "./http.ts";
import { answerPair, answerPairStatus } from "./pair-endpoint.ts";
import { answerToken } from "./token-endpoint.ts";

const PAIR_STATUS = /^\/pair\/([A-Za-z0-9_-]{1,64})$/;

/** Whether the path is one of the relay's own HTTP endpoints: discovery, tokens, pairing. */
export const isEndpoint = (path: string): boolean =>
  path === "/token" || path === "/pair" || path === DISCOVERY_PATH || PAIR_STATUS.test(path);

const DISCOVERY_PATH = "/.well-known/relayserver-configuration";

/** Answers a request for which `isEndpoint` holds. Runs the same in a Worker and in Node. */
export async function answerEndpoint(request: Request, ports: EndpointPorts): Promise<Response> {
  const url = new URL(request.url);
  const allow = url.pathname === "/token" || url.pathname === "/pair" ? "POST" : "GET";
  if (request.method !== allow && !(allow === "GET" && request.method === "HEAD"))
    return refusal("method-not-allowed", `This address takes ${allow}.`, { allow });
  if (url.pathname === DISCOVERY_PATH) return json(200, discoveryDocument(url.origin, ports.software));
  if (url.pathname === "/token") return await answerToken(request, ports);
  if (url.pathname === "/pair") return await answerPair(request, ports);
  return await answerPairStatus(PAIR_STATUS.exec(url.pathname)?.[1] ?? "", url.searchParams.get("tenant") ?? "", ports);
}
