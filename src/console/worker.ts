import { connect } from "../db/client.ts";
import type { LaneRpc } from "../protocol/lane.ts";
import type { MembersRpc } from "../protocol/portal-rpc.ts";
import type { ProvisioningMessage } from "../protocol/queue-messages.ts";
import { systemClock } from "../shared/clock.ts";
import { createLogger } from "../shared/log.ts";
import { createConsole } from "./app.ts";

interface Objects<Rpc> {
  getByName(name: string): Rpc;
}

export interface Env {
  readonly CONTROL_DB: Hyperdrive;
  readonly PROVISIONING: Queue<ProvisioningMessage>;
  readonly PORTAL_MEMBERS: Pick<MembersRpc, "ensureMember">;
  readonly LANE_A: Objects<LaneRpc>;
  readonly LANE_B: Objects<LaneRpc>;
}

const app = createConsole();
const log = createLogger("console", (line) => console.log(line));

export default {
  async fetch(request, env, context) {
    const { db } = connect(env.CONTROL_DB.connectionString);
    return await app.fetch(request, {
      db,
      send: async (message) => {
        await env.PROVISIONING.send(message);
      },
      lanes: (tenantId) => [env.LANE_A.getByName(tenantId), env.LANE_B.getByName(tenantId)],
      members: env.PORTAL_MEMBERS,
      clock: systemClock,
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      log,
      waitUntil: (work) => context.waitUntil(work),
    });
  },
} satisfies ExportedHandler<Env>;
