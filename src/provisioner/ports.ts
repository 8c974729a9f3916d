import type { Db, Sql } from "../db/client.ts";
import type { SealingKey } from "../db/secrets.ts";
import type { DirectoryRpc } from "../policy/record.ts";
import type { JobWorkerRpc } from "../protocol/jobs.ts";
import type { LaneRpc } from "../protocol/lane.ts";
import type { NodeChannelRpc } from "../protocol/node-channel.ts";
import type { MembersRpc } from "../protocol/portal-rpc.ts";
import type { ProvisioningMessage } from "../protocol/queue-messages.ts";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import type { DnsLookup } from "./dns-over-https.ts";
import type { HostFront } from "./host-front.ts";

/** All that the provisioner needs of its platform, made anew for each invocation. */
export interface ProvisionerPorts {
  /** Control data. */
  readonly db: Db;
  /** The database of a cluster, by the name of its binding; null when there is no such binding. */
  clusterDatabase(binding: string): Sql | null;
  /** The directory object that holds a host. */
  directory(host: string): DirectoryRpc;
  /** All of the directory's objects. */
  directoryShards(): readonly DirectoryRpc[];
  nodeChannel(nodeId: string): NodeChannelRpc;
  /** Both lanes of a tenant: a, then b. */
  lanes(tenantId: string): readonly [LaneRpc, LaneRpc];
  /** The object of one worker of a tenant. */
  jobWorker(tenantId: string, worker: number): JobWorkerRpc;
  /** The portal's accounts; nothing but forgetting a tenant. */
  readonly members: Pick<MembersRpc, "removeTenant">;
  /** Encrypts credentials at rest. */
  sealingKey(): Promise<SealingKey>;
  send(message: ProvisioningMessage, delaySeconds: number): Promise<void>;
  /** Looks for the proof of custom hosts. */
  readonly dns: DnsLookup;
  /** Who has certificates for custom hosts at the provider of the front; null: nobody has to be told of them. */
  readonly front: HostFront | null;
  /** To outside issuers. */
  fetch(url: string, init: RequestInit): Promise<Response>;
  readonly clock: Clock;
  /** In [0, 1). */
  random(): number;
  readonly log: Logger;
}
