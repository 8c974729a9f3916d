import { directoryShard, type DirectoryRpc } from "../../policy/record.ts";
import { newId } from "../../shared/ids.ts";
import { createLogger } from "../../shared/log.ts";
import { problem, problemResponse, type ErrorCode } from "../../shared/problem.ts";
import { bearerToken, claimedIdentity } from "../lane-admission.ts";
import { CONNECT_HEADER, type LaneEnv } from "./lane.ts";
import { findTenant } from "./tenant.ts";
import { RETRY_AFTER_SECONDS } from "../limits.ts";

export { Lane } from "./lane.ts";

interface ObjectNamespace<Rpc> {
  getByName(name: string): Rpc;
}

export interface LaneWorkerEnv extends LaneEnv {
  /** Comma-separated base domains; the first is the platform's own. */
  readonly BASE_DOMAINS: string;
  readonly LANE_OBJECT: ObjectNamespace<{ fetch(request: Request): Promise<Response> }>;
  readonly DIRECTORY: ObjectNamespace<DirectoryRpc>;
}

/**
 * `/connect/<lane>`: finds the tenant that the assertion names and hands the upgrade to that tenant's object, which checks the signature.
 * The object is not touched for anything that can't be an assertion.
 */
export default {
  async fetch(request: Request, env: LaneWorkerEnv): Promise<Response> {
    const { pathname, origin } = new URL(request.url);
    if (pathname !== `/connect/${env.LANE}`) return refusal("not-found", "Connectors dial /connect/a and /connect/b.");
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
      return refusal("bad-request", "This address takes WebSocket upgrades only.");
    }
    const token = bearerToken(request.headers.get("authorization"));
    const identity = token === null ? null : claimedIdentity(token);
    if (token === null || identity === null) return refusal("unauthorized", "A connector shows a signed assertion.");
    const tenantId = await tenantOf(identity, env);
    if (tenantId === "unreachable")
      return refusal("not-available", "The directory does not answer. Try again in a moment.");
    // The same words as for a wrong signature: nobody learns here which tenants exist.
    if (tenantId === null) return refusal("unauthorized", "The assertion does not prove a connector of this tenant.");
    const headers = { upgrade: "websocket", authorization: `Bearer ${token}`, [CONNECT_HEADER]: origin };
    return await env.LANE_OBJECT.getByName(tenantId).fetch(new Request("http://lane/", { headers }));
  },
};

async function tenantOf(
  identity: NonNullable<ReturnType<typeof claimedIdentity>>,
  env: LaneWorkerEnv,
): Promise<string | null> {
  const bases = env.BASE_DOMAINS.split(",").map((base) => base.trim());
  try {
    return await findTenant(identity, bases, (host) => env.DIRECTORY.getByName(directoryShard(host)).lookup(host));
  } catch (error) {
    createLogger(`relay-${env.LANE}`, (line) => console.log(line)).error("the directory did not answer", {
      error: String(error),
    });
    return "unreachable";
  }
}

function refusal(code: ErrorCode, detail: string): Response {
  const headers: Record<string, string> =
    code === "not-available" ? { "retry-after": String(RETRY_AFTER_SECONDS) } : {};
  return problemResponse(problem(code, detail, newId("req")), headers);
}
