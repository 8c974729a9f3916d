import { DurableObject } from "cloudflare:workers";
import { connect, connectPooled } from "../db/client.ts";
import type { Db, Sql } from "../db/client.ts";
import { importSealingKey } from "../db/secrets.ts";
import { DIRECTORY_SHARD_NAMES, directoryShard } from "../policy/record.ts";
import type { DirectoryRpc } from "../policy/record.ts";
import { jobWorkerName, type JobWorkerRpc } from "../protocol/jobs.ts";
import type { LaneRpc } from "../protocol/lane.ts";
import type { NodeChannelRpc } from "../protocol/node-channel.ts";
import type { MembersRpc } from "../protocol/portal-rpc.ts";
import type { ProvisioningMessage } from "../protocol/queue-messages.ts";
import { systemClock } from "../shared/clock.ts";
import { createLogger } from "../shared/log.ts";
import { createCloudflareFront } from "./cloudflare-hostnames.ts";
import { consume, type Handler, onDeadLetter, onEvent, onProvisioning } from "./consume.ts";
import { createDnsLookup } from "./dns-over-https.ts";
import { type HostFront, refusingFront } from "./host-front.ts";
import type { JobRecordsEnv } from "./jobs/job-records.ts";
import type { JobWorkerEnv } from "./jobs/worker-object.ts";
import type { ProvisionerPorts } from "./ports.ts";
import { sweep } from "./sweep.ts";

/** A namespace of objects that we call by name. */
interface Objects<Rpc> {
  getByName(name: string): Rpc;
}

export { JobRecords } from "./jobs/job-records.ts";
export { JobWorker } from "./jobs/worker-object.ts";

export interface Env extends JobWorkerEnv, JobRecordsEnv {
  readonly PROVISIONING: Queue<ProvisioningMessage>;
  readonly DIRECTORY: Objects<DirectoryRpc>;
  readonly NODE_CHANNEL: Objects<NodeChannelRpc>;
  readonly LANE_A: Objects<LaneRpc>;
  readonly LANE_B: Objects<LaneRpc>;
  readonly PORTAL_MEMBERS: Pick<MembersRpc, "removeTenant">;
  readonly JOB_WORKER: Objects<JobWorkerRpc>;
  /** Optional, all of them or none: Cloudflare for SaaS gets certificates for custom hosts. */
  readonly CUSTOM_HOSTNAMES_ZONE_ID?: string;
  readonly CUSTOM_HOSTNAMES_TOKEN?: string;
  /** Optional: default is Cloudflare's API. */
  readonly CUSTOM_HOSTNAMES_API_URL?: string;
  /** In the local stack only: this Worker's own object. */
  readonly POOLED?: Objects<Pick<Pooled, "take">>;
  /** A database a cluster, named in its row. */
  readonly [binding: `CLUSTER_DB_${string}`]: Hyperdrive;
}

const log = createLogger("provisioner", (line) => console.log(line));

/** `open`: a pool of connections to a database, made at its first use. */
function portsOf(env: Env, open: (url: string) => { db: Db; sql: Sql } = connect): ProvisionerPorts {
  const databases = new Map<string, Sql>();
  return {
    db: open(env.CONTROL_DB.connectionString).db,
    clusterDatabase(binding) {
      const hyperdrive = isClusterBinding(binding) ? env[binding] : undefined;
      if (hyperdrive === undefined) return null;
      const sql = databases.get(binding) ?? open(hyperdrive.connectionString).sql;
      databases.set(binding, sql);
      return sql;
    },
    directory: (host) => env.DIRECTORY.getByName(directoryShard(host)),
    directoryShards: () => DIRECTORY_SHARD_NAMES.map((name) => env.DIRECTORY.getByName(name)),
    nodeChannel: (nodeId) => env.NODE_CHANNEL.getByName(nodeId),
    lanes: (tenantId) => [env.LANE_A.getByName(tenantId), env.LANE_B.getByName(tenantId)],
    jobWorker: (tenantId, worker) => env.JOB_WORKER.getByName(jobWorkerName(tenantId, worker)),
    members: env.PORTAL_MEMBERS,
    sealingKey: () => importSealingKey(env.CREDENTIAL_KEY),
    send: async (message, delaySeconds) => {
      await env.PROVISIONING.send(message, { delaySeconds });
    },
    dns: createDnsLookup(env.DNS_RESOLVER_URL, (url, init) => fetch(url, init)),
    front: frontOf(env),
    fetch: (url, init) => fetch(url, init),
    clock: systemClock,
    random: () => Math.random(),
    log,
  };
}

const CLOUDFLARE_API_URL = "https://api.cloudflare.com/client/v4";

function frontOf(env: Env): HostFront | null {
  const { CUSTOM_HOSTNAMES_ZONE_ID: zoneId = "", CUSTOM_HOSTNAMES_TOKEN: token = "" } = env;
  if (zoneId === "" && token === "") return null;
  if (zoneId === "" || token === "")
    return refusingFront("set both CUSTOM_HOSTNAMES_ZONE_ID and CUSTOM_HOSTNAMES_TOKEN of the provisioner");
  const apiUrl = env.CUSTOM_HOSTNAMES_API_URL || CLOUDFLARE_API_URL;
  return createCloudflareFront({ apiUrl, zoneId, token }, (url, init) => fetch(url, init));
}

const isClusterBinding = (name: string): name is `CLUSTER_DB_${string}` => name.startsWith("CLUSTER_DB_");

const HANDLERS: ReadonlyMap<string, Handler> = new Map([
  ["causeway-provisioning", onProvisioning],
  ["causeway-provisioning-dead", onDeadLetter],
  ["causeway-events", onEvent],
]);

function handlerOf(queue: string): Handler {
  const handler = HANDLERS.get(queue);
  if (handler === undefined) throw new Error(`a queue that is not ours: ${queue}`);
  return handler;
}

/** Takes in messages where Hyperdrive does not pool: connections outlive an invocation only in an object. See docs/adr/0011. */
export class Pooled extends DurableObject<Env> {
  readonly #ports = portsOf(this.env, connectPooled);

  async take(queue: string, body: unknown): Promise<void> {
    try {
      await handlerOf(queue)(this.#ports, body);
    } catch (error) {
      // A failed query's error quotes its parameters; they don't travel.
      // oxlint-disable-next-line preserve-caught-error -- the cause is what must not travel
      throw new Error(`a message was not taken in: ${error instanceof Error ? error.name : typeof error}`);
    }
  }
}

export default {
  async queue({ queue, messages }, env) {
    const pooled = env.POOLED?.getByName("provisioner");
    if (pooled !== undefined) return await consume(log, messages, (body) => pooled.take(queue, body));
    const ports = portsOf(env);
    const handler = handlerOf(queue);
    return await consume(log, messages, (body) => handler(ports, body));
  },
  async scheduled(_controller, env) {
    const sent = await sweep(portsOf(env));
    if (sent > 0) log.info("sweep sent messages", { sent });
  },
} satisfies ExportedHandler<Env>;
