import { z } from "zod";
import { publicJwk } from "./jwk.ts";

/** What the control plane publishes to both lane objects of a tenant about one connector. Older revisions never replace newer ones. */
export const connectorGrant = z.object({
  tenantId: z.string(),
  /** `slug` or `slug@cluster`, as in client ids. */
  tenant: z.string(),
  connectorId: z.string(),
  /** Unique in the tenant. */
  name: z.string(),
  revision: z.number().int().nonnegative(),
  disabled: z.boolean(),
  keys: z.array(publicJwk).max(8),
  /** Targets that it may announce; null = any. */
  targets: z.array(z.string()).max(256).nullable(),
});
export type ConnectorGrant = z.infer<typeof connectorGrant>;

/** One live socket of a connector instance at one lane. */
export interface ConnectorSession {
  readonly connectorId: string;
  readonly connector: string;
  readonly instanceId: string;
  readonly lane: "a" | "b";
  readonly sinceMs: number;
  readonly targets: readonly string[];
  readonly inFlight: number;
}

export interface LaneDrain {
  /** Sockets that were told to go and are still here. */
  readonly sockets: number;
  /** Requests and WebSockets under way, also those whose visitor still takes what came. 0: it may be redeployed. */
  readonly inFlight: number;
}

/** Calls of a lane object beside `fetch` (visitors' requests and connectors' upgrades). The object's name is the tenant's id. */
export interface LaneRpc {
  /** `applied: false` when a newer revision is there already. A disabled connector's live sockets end at once. */
  putConnector(grant: ConnectorGrant): Promise<{ applied: boolean; revision: number }>;
  /** Ends its sockets, forgets its keys, leaves a tombstone with the revision. */
  removeConnector(connectorId: string, revision: number): Promise<{ applied: boolean; revision: number }>;
  /** Whether a request for the target would be started here now. The edge asks before it sends a body that it can't replay. */
  accepts(target: string): Promise<boolean>;
  sessions(): Promise<ConnectorSession[]>;
  /**
   * Empties the lane before it is redeployed: no new requests, connectors dial again beside their old sockets, open requests have `graceMs`
   * (whole, up to an hour). Answers what is still there; a repeated call only asks. Afterwards, or after a restart, the lane serves again.
   */
  drain(graceMs: number): Promise<LaneDrain>;
}
