import { z } from "zod";
import { publicJwk, publicJwks } from "./jwk.ts";
import { SERVICE_PROTOCOLS } from "./service-protocol.ts";

/**
 * The node channel: JSON text messages over a WebSocket that the node agent dials (`relay.<base>/node`). docs/protocol.md, section "Node
 * channel". The channel is an ordered log per node: every change has a sequence number; an agent says how far it has come and gets what
 * it missed, or a snapshot when the log no longer reaches back that far or the epoch differs.
 */
export const nodeService = z.object({
  /** Unique per tenant and workspace: app, connectors, manager. */
  name: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/),
  workspace: z.string(),
  driver: z.discriminatedUnion("kind", [
    /** A command of the node operator's own catalogue, by name; the control plane can't name executables. */
    z.object({ kind: z.literal("process"), command: z.string().max(64) }),
    /** An image of that catalogue, by name too. */
    z.object({ kind: z.literal("docker"), image: z.string().max(64) }),
    z.object({ kind: z.literal("external"), address: z.string().max(255), port: z.number().int().min(1).max(65535) }),
  ]),
  /** Absent: `http`. */
  protocol: z.enum(SERVICE_PROTOCOLS).optional(),
  /** Switched off: it does not run, and its routes say that it can't be reached. Absent: it runs. */
  stopped: z.boolean().optional(),
  healthPath: z.string().startsWith("/").max(255).nullable(),
  /** Given to the service as files or environment by its driver. Secret: never logged. */
  secrets: z.record(z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/), z.string().max(4096)),
});
export type NodeService = z.infer<typeof nodeService>;

export const nodeRoute = z.object({
  /** Segment-aware prefix, "/" or without a trailing slash. */
  prefix: z.string().startsWith("/").max(255),
  service: z.string(),
  /** What the service sees in place of the prefix, and of the visitor's Host. Default: both as they came. */
  rewrite: z
    .object({
      prefix: z
        .string()
        .max(255)
        .regex(/^\/$|^(\/[A-Za-z0-9._~-]+)+$/)
        .optional(),
      host: z
        .string()
        .max(253)
        .regex(/^[a-z0-9.-]+(?::[0-9]{1,5})?$/)
        .optional(),
    })
    .optional(),
  /** Whether everybody may use it as it is, so that masters may send visitors here. Absent: only the edge may. */
  open: z.boolean().optional(),
});

/** What of a tenant a master serves without the edge (policy/front.ts). */
const frontRoute = z.object({
  prefix: z.string().startsWith("/").max(255),
  /** `edge`: what lies below an open prefix and is not open itself. */
  to: z.enum(["node", "edge"]),
  /** Until the answer's head. Absent: the master's own limit, or none for a route to an `h2c` service. */
  firstByteMs: z.number().int().positive().optional(),
  /** The service speaks HTTP/2: a stream of gRPC may send its head with a first message that comes late. Absent: it doesn't. */
  h2c: z.boolean().optional(),
  /** The service is told that this was taken off the path. */
  forwardedPrefix: z.string().optional(),
});
export type FrontRoute = z.infer<typeof frontRoute>;

/** Host (a name or an IPv4 address) and port. */
const address = z.object({
  host: z
    .string()
    .max(253)
    .regex(/^[A-Za-z0-9.-]+$/),
  port: z.number().int().min(1).max(65535),
});

/** A master's part of a tenant: where its open routes lead. All else of its hosts goes to the edge. No secrets, no names of services or targets. */
export const front = z.object({
  /** The node that has it, and where it takes masters' connections; its certificate has to name that host. */
  node: z.object({ id: z.string(), at: address }),
  routes: z.array(frontRoute).max(200),
  /** Whether it has a broker: MQTT for its hosts goes to the node, too. */
  mqtt: z.boolean(),
});
export type Front = z.infer<typeof front>;

/** All that a node needs to know of one tenant. A higher revision replaces the whole of a lower one. */
export const nodeTenant = z.object({
  tenantId: z.string(),
  slug: z.string(),
  revision: z.number().int().nonnegative(),
  hosts: z.array(z.string().max(253)).max(100),
  routes: z.array(nodeRoute).max(200),
  services: z.array(nodeService).max(50),
  /** Of a master's tenants only, and all that these have: they come without routes and services. */
  front: front.optional(),
});
export type NodeTenant = z.infer<typeof nodeTenant>;

export const nodeChange = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("put"), tenant: nodeTenant }),
  z.object({ kind: z.literal("remove"), tenantId: z.string(), revision: z.number().int().nonnegative() }),
]);
export type NodeChange = z.infer<typeof nodeChange>;

/** How far a tenant's revision has come on a node. `accepted`: Envoy acknowledged it; `live`: a request through the data path saw it. */
export const nodeTenantState = z.enum(["pending", "accepted", "live", "rejected"]);
export type NodeTenantState = z.infer<typeof nodeTenantState>;

export const toAgent = z.discriminatedUnion("type", [
  /** First message after the agent's hello. `proofKeys` are the edge's public keys (both while they rotate). */
  z.object({
    type: z.literal("welcome"),
    nodeId: z.string(),
    node: z.string(),
    epoch: z.string(),
    proofKeys: publicJwks,
  }),
  /** All tenants of the node, in one or more parts; a tenant that no part names is not on this node. Complete with `last`. */
  z.object({ type: z.literal("snapshot"), seq: z.number().int(), tenants: z.array(nodeTenant), last: z.boolean() }),
  z.object({ type: z.literal("change"), seq: z.number().int(), change: nodeChange }),
  z.object({ type: z.literal("proof-keys"), proofKeys: publicJwks }),
]);
export type ToAgent = z.infer<typeof toAgent>;

export const fromAgent = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("hello"),
    version: z.literal(1),
    agent: z.string().max(64),
    /** Of the last channel that the agent followed; null on a fresh node. */
    epoch: z.string().nullable(),
    /** Last sequence number that is durable on the agent's disk; 0 for none. */
    cursor: z.number().int().nonnegative(),
  }),
  z.object({
    type: z.literal("report"),
    tenantId: z.string(),
    revision: z.number().int().nonnegative(),
    state: z.enum(["accepted", "live", "rejected"]),
    /** Envoy's or the driver's own words when rejected. */
    reason: z.string().max(2048).nullable(),
  }),
  z.object({ type: z.literal("removed"), tenantId: z.string(), revision: z.number().int().nonnegative() }),
]);
export type FromAgent = z.infer<typeof fromAgent>;

/** Close codes of the channel's own; the agent waits longer before it dials again after either. */
export const NODE_CHANNEL_CLOSE = {
  /** The node is disabled, or its key was replaced. */
  refused: 4403,
  /** Another agent with this node's identity has connected: the newest wins. */
  replaced: 4409,
} as const;

/** POST relay.<base>/node/enroll: a one-time token buys the right to register a key. The token is `<nodeId>.<secret>`. */
export const enrolRequest = z.strictObject({ token: z.string().max(256), key: publicJwk });
export const enrolResponse = z.object({ nodeId: z.string(), node: z.string() });
export type EnrolResponse = z.infer<typeof enrolResponse>;

export interface NodeGrant {
  readonly nodeId: string;
  readonly node: string;
  readonly revision: number;
  readonly disabled: boolean;
  /** SHA-256 of the enrolment secret, hex, and when it stops working; null when none is open. Used once. */
  readonly enrolment: { readonly secretHash: string; readonly expiresAtMs: number } | null;
}

export interface NodeTenantStatus {
  readonly tenantId: string;
  readonly revision: number;
  readonly state: NodeTenantState;
  readonly reason: string | null;
}

/** Calls of a node channel object beside `fetch` (the agent's upgrade and enrolment). The object's name is the node's id. */
export interface NodeChannelRpc {
  putGrant(grant: NodeGrant): Promise<{ applied: boolean; revision: number }>;
  /** Idempotent by (tenantId, revision); an older revision than the one held is not applied. */
  push(change: NodeChange): Promise<{ applied: boolean; revision: number }>;
  /** Null when the node does not hold the tenant. */
  status(tenantId: string): Promise<NodeTenantStatus | null>;
  /** Answers when the revision is live or rejected (or, for a removed tenant, gone), or when the time is over, with what is known then. */
  waitSettled(tenantId: string, revision: number, timeoutMs: number): Promise<NodeTenantStatus | null>;
  /** Whether an agent is connected, and since when. */
  presence(): Promise<{ online: boolean; sinceMs: number | null; enrolled: boolean }>;
}
