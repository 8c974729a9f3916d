import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import { z } from "zod";
import { connect, connectPooled, sqlState } from "../db/client.ts";
import type { Db } from "../db/client.ts";
import type { JobWorkerRpc } from "../protocol/jobs.ts";
import type { LaneRpc } from "../protocol/lane.ts";
import type { MembersRpc } from "../protocol/portal-rpc.ts";
import type { ProvisioningMessage } from "../protocol/queue-messages.ts";
import {
  createOwnTenantInput,
  endSessionsInput,
  type CreateOwnTenantInput,
  type CreateOwnTenantResult,
  type EndSessionsInput,
  type TenantsRpc,
  type TenantStatus,
} from "../protocol/tenants-rpc.ts";
import { systemClock } from "../shared/clock.ts";
import { createLogger } from "../shared/log.ts";
import { createConsole } from "./app.ts";
import { answerInTime } from "./deadline.ts";
import { ANSWER_WITHIN_MS } from "./limits.ts";
import { createOwnTenant, endSessionsOf, showOwnTenants } from "./own-tenants.ts";
import type { ConsolePorts } from "./ports.ts";

interface Objects<Rpc> {
  getByName(name: string): Rpc;
}

export interface Env {
  readonly CONTROL_DB: Hyperdrive;
  readonly PROVISIONING: Queue<ProvisioningMessage>;
  readonly PORTAL_MEMBERS: Omit<MembersRpc, "removeTenant">;
  readonly LANE_A: Objects<LaneRpc>;
  readonly LANE_B: Objects<LaneRpc>;
  readonly JOB_WORKER: Objects<JobWorkerRpc>;
  /** In the local stack only: this Worker's own object. */
  readonly POOLED?: Objects<{ fetch(request: Request): Promise<Response> }>;
}

const app = createConsole();
const log = createLogger("console", (line) => console.log(line));

function answerRequest(request: Request, env: Env, db: Db, context: Pick<ExecutionContext, "waitUntil">) {
  const ports: ConsolePorts = {
    db,
    send: async (message) => {
      await env.PROVISIONING.send(message);
    },
    lanes: (tenantId) => [env.LANE_A.getByName(tenantId), env.LANE_B.getByName(tenantId)],
    jobWorker: (name) => env.JOB_WORKER.getByName(name),
    members: env.PORTAL_MEMBERS,
    clock: systemClock,
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    log,
    waitUntil: (work) => context.waitUntil(work),
  };
  return answerInTime(Promise.resolve(app.fetch(request, ports)), ANSWER_WITHIN_MS);
}

export default {
  async fetch(request, env, context) {
    if (env.POOLED !== undefined) return await env.POOLED.getByName("console").fetch(request);
    return await answerRequest(request, env, connect(env.CONTROL_DB.connectionString).db, context);
  },
} satisfies ExportedHandler<Env>;

/** Answers everything where Hyperdrive does not pool: connections outlive a request only in an object. See docs/adr/0011. */
export class Pooled extends DurableObject<Env> {
  readonly #db = connectPooled(this.env.CONTROL_DB.connectionString).db;

  override async fetch(request: Request): Promise<Response> {
    return await answerRequest(request, this.env, this.#db, this.ctx);
  }
}

const tenantIds = z.array(z.string().min(1).max(64)).max(100);

/** For the portal: what people do with their own tenants. */
export class Tenants extends WorkerEntrypoint<Env> implements TenantsRpc {
  async create(input: CreateOwnTenantInput): Promise<CreateOwnTenantResult> {
    const parsed = createOwnTenantInput.parse(input);
    return await withoutDetails("create", () => createOwnTenant(this.#ports(), parsed));
  }

  async show(ids: readonly string[]): Promise<TenantStatus[]> {
    const parsed = tenantIds.parse(ids);
    return await withoutDetails("show", () => showOwnTenants(this.#ports().db, parsed));
  }

  async endSessions(input: EndSessionsInput): Promise<boolean> {
    const parsed = endSessionsInput.parse(input);
    return await withoutDetails("endSessions", () => endSessionsOf(this.#ports(), parsed));
  }

  #ports() {
    const { db } = connect(this.env.CONTROL_DB.connectionString);
    const send = async (message: ProvisioningMessage) => {
      await this.env.PROVISIONING.send(message);
    };
    return { db, send, clock: systemClock, log };
  }
}

/** A failed query's error quotes its parameters; they don't travel. */
async function withoutDetails<T>(call: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const failed = { call, error: error instanceof Error ? error.name : typeof error, sqlState: sqlState(error) };
    log.error("call failed", failed);
    // oxlint-disable-next-line preserve-caught-error -- the cause is what must not travel
    throw new Error(`the console could not do ${call}`);
  }
}
