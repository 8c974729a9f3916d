import type { Db } from "../db/client.ts";
import type { JobWorkerRpc } from "../protocol/jobs.ts";
import type { LaneRpc } from "../protocol/lane.ts";
import type { MembersRpc } from "../protocol/portal-rpc.ts";
import type { ProvisioningMessage } from "../protocol/queue-messages.ts";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";

/** All that the console needs of its platform, made anew for each request (a database client may not outlive one in a Worker). */
export interface ConsolePorts {
  readonly db: Db;
  /** Tells the provisioner that there is work. May fail: the outbox row stays and the sweep sends it. */
  send(message: ProvisioningMessage): Promise<void>;
  readonly members: Omit<MembersRpc, "removeTenant">;
  /** Both lanes of a tenant: what is so only while it lasts (live sockets, requests to be let in). Everything else goes by operations. */
  lanes(tenantId: string): readonly Pick<LaneRpc, "kick" | "sessions" | "pairingRequests" | "settlePairing">[];
  /** The object of one worker of a tenant, by its name: runs and stops that people ask for, and what is under way. */
  jobWorker(name: string): Pick<JobWorkerRpc, "run" | "stop" | "status" | "seal">;
  readonly clock: Clock;
  /** Resolves after that many milliseconds. */
  sleep(ms: number): Promise<void>;
  readonly log: Logger;
  /** Lets work go on after the answer was sent. */
  waitUntil(work: Promise<unknown>): void;
}
