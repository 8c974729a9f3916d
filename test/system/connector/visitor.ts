import { directoryRecord, type DirectoryRpc } from "../../../src/policy/record.ts";
import { connectorGrant, type LaneRpc } from "../../../src/protocol/lane.ts";

/**
 * Stands for the edge and the control plane in front of two real lanes: upgrades of connectors go to their Workers, calls to
 * `/control/<binding>/<object>/<method>` to the objects, everything else to the lane it names. (Calls from outside by RPC would keep
 * references to the objects, and then they can't be evicted.)
 */
interface Objects<Rpc> {
  getByName(name: string): Rpc;
}
interface VisitorEnv {
  readonly RELAY_A: { fetch(request: Request): Promise<Response> };
  readonly RELAY_B: { fetch(request: Request): Promise<Response> };
  readonly LANE_A: Objects<LaneRpc & { fetch(request: Request): Promise<Response> }>;
  readonly LANE_B: Objects<LaneRpc & { fetch(request: Request): Promise<Response> }>;
  readonly DIRECTORY: Objects<DirectoryRpc>;
}

export default {
  async fetch(request: Request, env: VisitorEnv): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/connect/a") return await env.RELAY_A.fetch(request);
    if (pathname === "/connect/b") return await env.RELAY_B.fetch(request);
    const [, binding, name = "", method] = /^\/control\/([A-Z_]+)\/([^/]+)\/([A-Za-z]+)$/.exec(pathname) ?? [];
    if (binding === "DIRECTORY" && method === "publish") {
      return Response.json(await env.DIRECTORY.getByName(name).publish(directoryRecord.parse(await request.json())));
    }
    if (binding === "LANE_A" || binding === "LANE_B") {
      const lane = env[binding].getByName(name);
      if (method === "sessions") return Response.json(await lane.sessions());
      if (method === "putConnector")
        return Response.json(await lane.putConnector(connectorGrant.parse(await request.json())));
      return new Response(null, { status: 404 });
    }
    const lanes = request.headers.get("x-lane") === "b" ? env.LANE_B : env.LANE_A;
    return await lanes.getByName("ten_acme").fetch(request);
  },
};
