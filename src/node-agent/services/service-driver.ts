import type { NodeService } from "../../protocol/node-channel.ts";
import type { ServiceProtocol } from "../../protocol/service-protocol.ts";
import type { Result } from "../../shared/result.ts";
import type { Endpoint } from "../envoy/render.ts";

/** What a node's agent runs itself; an `external` service is run by somebody else. */
export type RunBy = Exclude<NodeService["driver"], { kind: "external" }>;

/** One service of one workspace of one tenant, in one form: other secrets or another command or image make another instance beside it. */
export interface ServiceInstance {
  readonly tenantId: string;
  readonly slug: string;
  readonly workspace: string;
  readonly service: string;
  readonly driver: RunBy;
  readonly protocol: ServiceProtocol;
  readonly healthPath: string | null;
  readonly secrets: Readonly<Record<string, string>>;
}

/** Runs tenants' services, one instance per tenant, workspace and service. They outlive the agent, and the next one finds them again. */
export interface ServiceDriver {
  /** Sees to it that the instance runs, and says where. Idempotent. Fails with a sentence, e.g. when the catalogue has no such entry. */
  ensure(instance: ServiceInstance): Promise<Result<Endpoint, string>>;
  /** Waits until it answers its health check (or accepts connections when it has none). */
  healthy(instance: ServiceInstance, signal: AbortSignal): Promise<Result<null, string>>;
  /** Ends all instances of the tenant but these. */
  keepOnly(tenantId: string, instances: readonly ServiceInstance[]): Promise<void>;
  /** Ends what an earlier agent left behind for tenants that are not these. */
  endStrays(tenantIds: ReadonlySet<string>): Promise<void>;
  /** Directory keys and pids (of the system's processes) of what runs. */
  running(): RunningService[];
  /** Ends everything, or leaves it running for the next agent. */
  close(end: boolean): Promise<void>;
}

export interface RunningService {
  readonly name: string;
  readonly pid: number | null;
  readonly port: number;
}
