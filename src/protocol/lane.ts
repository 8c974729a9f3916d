import { z } from "zod";
import { issuerJwk, publicJwk } from "./jwk.ts";

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
  /** Client secrets of 256 random bits, so a plain SHA-256 (hex) is enough; several are valid at once (H89, R07). */
  secrets: z
    .array(z.object({ id: z.string(), sha256: z.string().length(64), expiresAtMs: z.number().nullable() }))
    .max(8)
    .default([]),
  /** Subject that an outside issuer of the tenant (settings.issuers) gives this connector; null: none does. */
  issuerSubject: z.string().max(255).nullable().default(null),
  /** Targets that it may announce; null = any. */
  targets: z.array(z.string()).max(256).nullable(),
  /** Only GET, HEAD and OPTIONS may be sent to it; everything else is 403 `forbidden`. */
  readOnly: z.boolean().default(false),
  /** The connector leaves by itself at this time and is refused afterwards. */
  expiresAtMs: z.number().nullable().default(null),
  /** Target configuration pushed to it (the shape is the connector's: docs/connector.md); null: its own files only. */
  config: z
    .object({ revision: z.number().int().nonnegative(), json: z.string().max(64 * 1024) })
    .nullable()
    .default(null),
});
export type ConnectorGrant = z.infer<typeof connectorGrant>;

const ms = z.number().int().positive();

/** What the control plane (or the configuration file of the Node host) says about a tenant's relay. Every member has a default: no limit. */
export const tenantSettings = z.object({
  tenantId: z.string(),
  /** `slug` or `slug@cluster`. */
  tenant: z.string().default(""),
  revision: z.number().int().nonnegative(),
  /** The tenant's relay is switched off: sockets end, nobody dials in, requests get 503 `not-available` (P23). */
  disabled: z.boolean().default(false),
  /** The tenant is suspended: visitors' requests and WebSockets end and new ones get 503 `tenant-suspended`; connectors stay. */
  suspended: z.boolean().default(false),
  limits: z
    .object({
      /** Requests under way at one lane; above: 429 `rate-limited`. */
      concurrentRequests: z.number().int().positive().nullable().default(null),
      /** Requests a second at one lane, with a burst of as many; above: 429 with Retry-After. */
      requestsPerSecond: z.number().positive().nullable().default(null),
      /** The same for one visitor's address. */
      requestsPerSecondPerVisitor: z.number().positive().nullable().default(null),
      /** Longest request body; above: 413. */
      bodyBytes: z.number().int().positive().nullable().default(null),
      /** Different connectors online at once. */
      connectors: z.number().int().positive().nullable().default(null),
    })
    .prefault({}),
  timeouts: z
    .object({
      firstByteMs: ms.nullable().default(null),
      idleMs: ms.nullable().default(null),
      totalMs: ms.nullable().default(null),
    })
    .prefault({}),
  /** A request for a target that nobody serves just now waits this long for a connector to come; 0: fails at once (P17). */
  waitForConnectorMs: z.number().int().min(0).max(60_000).default(0),
  /** Said to live connectors at once (CONFIG frame): how often they prove the link, and how far redials spread. */
  keepAliveMs: ms.nullable().default(null),
  reconnectMaxMs: ms.nullable().default(null),
  /** `/trace/...` and `Server-Timing` may be asked for by visitors. */
  tracing: z.boolean().default(true),
  /** Outside issuers whose tokens prove connectors of this tenant. Keys are fetched by whoever publishes this, never by a lane. */
  issuers: z
    .array(
      z.object({
        issuer: z.string().url(),
        audience: z.string(),
        keys: z.array(issuerJwk).max(16),
      }),
    )
    .max(4)
    .default([]),
  /** Unknown connectors may ask to be let in until then (pairing window); null: closed. */
  pairingUntilMs: z.number().nullable().default(null),
});
export type TenantSettings = z.infer<typeof tenantSettings>;

/** The part of a tenant's settings that an operator writes as one document. */
export const relaySettings = tenantSettings.pick({
  limits: true,
  timeouts: true,
  waitForConnectorMs: true,
  keepAliveMs: true,
  reconnectMaxMs: true,
  tracing: true,
});
export type RelaySettings = z.infer<typeof relaySettings>;

/** A connector that nobody knows yet asked to be let in while the tenant's pairing window was open (H85). */
export interface PairingRequest {
  readonly id: string;
  readonly connector: string;
  readonly key: z.infer<typeof publicJwk>;
  readonly software: string;
  readonly clientAddress: string | null;
  readonly atMs: number;
}

/** One live socket of a connector instance at one lane. */
export interface ConnectorSession {
  readonly connectorId: string;
  readonly connector: string;
  readonly instanceId: string;
  readonly lane: "a" | "b";
  readonly sinceMs: number;
  readonly targets: readonly string[];
  /** Announced, but their health check fails. */
  readonly unhealthy: readonly string[];
  readonly software: string;
  readonly inFlight: number;
  /** What it said of the settings that were pushed to it last; null: nothing yet. */
  readonly configured: { readonly revision: number; readonly ok: boolean; readonly reason: string } | null;
}

export interface LaneDrain {
  /** Sockets that were told to go, or will be in a moment, and are still here. */
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
  /** Limits, timers, issuers and the like of the tenant. Live connectors learn of theirs at once. */
  putSettings(settings: TenantSettings): Promise<{ applied: boolean; revision: number }>;
  /** Ends live sockets of a connector, or of one instance; they may dial again. Answers how many ended. */
  kick(connectorId: string, instanceId: string | null): Promise<number>;
  /** Those who asked to be let in, while the window is open. */
  pairingRequests(): Promise<PairingRequest[]>;
  /** Forgets one, whatever was decided. */
  settlePairing(id: string): Promise<void>;
  /** Whether a request for the target would be started here now. The edge asks before it sends a body that it can't replay. */
  accepts(target: string): Promise<boolean>;
  sessions(): Promise<ConnectorSession[]>;
  /**
   * Empties the lane before it is redeployed: no new requests, connectors dial again beside their old sockets, open requests have `graceMs`
   * (whole, up to an hour). Answers what is still there; a repeated call only asks. The lane serves again after a restart, on `serve`, or when
   * the grace and `holdMs` (default 0) after it are over: the time for whoever redeploys it.
   */
  drain(graceMs: number, holdMs?: number): Promise<LaneDrain>;
  /** Ends a drain before its time; does nothing where there is none. */
  serve(): Promise<void>;
}
