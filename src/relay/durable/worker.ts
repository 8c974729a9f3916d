import { directoryShard, type DirectoryRpc } from "../../policy/record.ts";
import { newId } from "../../shared/ids.ts";
import { createLogger } from "../../shared/log.ts";
import { problem, problemResponse, type ErrorCode } from "../../shared/problem.ts";
import { systemClock } from "../../shared/clock.ts";
import type { AdmissionRpc } from "../admission/admission.ts";
import { createAttempts } from "../admission/attempts.ts";
import { answerEndpoint, isEndpoint } from "../admission/endpoints.ts";
import type { EndpointPorts } from "../admission/http.ts";
import { bearerToken, claimedIdentity, type ClaimedIdentity } from "../admission/identity.ts";
import { FAILED_TOKENS, PAIR_ATTEMPTS, RETRY_AFTER_SECONDS } from "../limits.ts";
import { CONNECT_HEADER, CONNECTOR_HEADER, type LaneEnv } from "./lane.ts";
import { findTenant } from "./tenant.ts";

export { Lane } from "./lane.ts";

interface ObjectNamespace<Rpc> {
  getByName(name: string): Rpc;
}

export interface LaneWorkerEnv extends LaneEnv {
  /** Comma-separated base domains; the first is the platform's own. */
  readonly BASE_DOMAINS: string;
  /** Lower-case name of the header in which the platform in front gives the caller's address; empty: callers are on this machine. */
  readonly CLIENT_ADDRESS_HEADER?: string;
  readonly LANE_OBJECT: ObjectNamespace<AdmissionRpc & { fetch(request: Request): Promise<Response> }>;
  readonly DIRECTORY: ObjectNamespace<DirectoryRpc>;
}

const SOFTWARE = "causeway-relay";
/** Of this isolate: guessing is slowed down, not counted exactly. */
const failedTokens = createAttempts(FAILED_TOKENS);
const pairAttempts = createAttempts(PAIR_ATTEMPTS);

/**
 * `/connect/<lane>`: finds the tenant that the token names and hands the upgrade to that tenant's object, which checks it. The object is not
 * touched for anything that can't be a token. Discovery, tokens and pairing are answered beside it, by the same object's word.
 */
export default {
  async fetch(request: Request, env: LaneWorkerEnv): Promise<Response> {
    const { pathname, origin, searchParams } = new URL(request.url);
    if (isEndpoint(pathname)) return await answerEndpoint(request, endpointPorts(request, env));
    if (pathname !== `/connect/${env.LANE}`) return refusal("not-found", "Connectors dial /connect/a and /connect/b.");
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
      return refusal("bad-request", "This address takes WebSocket upgrades only.");
    }
    const token = bearerToken(request.headers.get("authorization"));
    const identity = token === null ? null : claimedIdentity(token, searchParams.get("client"));
    if (token === null || identity === null)
      return refusal("unauthorized", "A connector shows a signed assertion or a token that says who it is.");
    const tenantId = await tenantOf(identity, env);
    if (tenantId === "unreachable")
      return refusal("not-available", "The directory does not answer. Try again in a moment.");
    // The same words as for a wrong signature: nobody learns here which tenants exist.
    if (tenantId === null) return refusal("unauthorized", "The credential does not prove a connector of this tenant.");
    const headers = {
      upgrade: "websocket",
      authorization: `Bearer ${token}`,
      [CONNECT_HEADER]: origin,
      ...(identity.connector !== null && { [CONNECTOR_HEADER]: identity.connector }),
    };
    return await env.LANE_OBJECT.getByName(tenantId).fetch(new Request("http://lane/", { headers }));
  },
};

function endpointPorts(request: Request, env: LaneWorkerEnv): EndpointPorts {
  const addressHeader = env.CLIENT_ADDRESS_HEADER ?? "";
  return {
    laneOf: async (identity) => {
      const tenantId = await tenantOf(identity, env);
      return tenantId === null || tenantId === "unreachable" ? tenantId : env.LANE_OBJECT.getByName(tenantId);
    },
    clientAddress: addressHeader === "" ? null : request.headers.get(addressHeader),
    failedTokens,
    pairAttempts,
    now: systemClock,
    software: SOFTWARE,
    warn: (message, fields) => logOf(env).warn(message, fields),
  };
}

const logOf = (env: LaneWorkerEnv) => createLogger(`relay-${env.LANE}`, (line) => console.log(line));

async function tenantOf(identity: ClaimedIdentity, env: LaneWorkerEnv): Promise<string | null> {
  const bases = env.BASE_DOMAINS.split(",").map((base) => base.trim());
  try {
    return await findTenant(identity, bases, (host) => env.DIRECTORY.getByName(directoryShard(host)).lookup(host));
  } catch (error) {
    logOf(env).error("the directory did not answer", { error: String(error) });
    return "unreachable";
  }
}

function refusal(code: ErrorCode, detail: string): Response {
  const headers: Record<string, string> =
    code === "not-available" ? { "retry-after": String(RETRY_AFTER_SECONDS) } : {};
  return problemResponse(problem(code, detail, newId("req")), headers);
}
