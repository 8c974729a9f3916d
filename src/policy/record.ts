import { z } from "zod";

/** Who may use a route. `member`: a signed-in member of the tenant. The other modes come with the edge's own issue. */
export const accessMode = z.enum(["public", "member"]);
export type AccessMode = z.infer<typeof accessMode>;

const milliseconds = z.number().int().positive().nullable().optional();

/** Null or absent: the tenant's, or the platform's. A node's service has `firstByteMs` only. */
export const routeTimeouts = z.object({
  /** Until the answer's head, counted from the last byte of the request that moved. */
  firstByteMs: milliseconds,
  /** Without a byte in either direction. */
  idleMs: milliseconds,
  /** From the request's start to the answer's last byte. */
  totalMs: milliseconds,
});
export type RouteTimeouts = z.infer<typeof routeTimeouts>;

export const tenantRoute = z.object({
  /** Segment-aware prefix: "/" or without a trailing slash. The longest match wins. */
  prefix: z.string().startsWith("/").max(255),
  access: accessMode,
  to: z.discriminatedUnion("kind", [
    /** A service on the tenant's node; path and query go through unchanged. */
    z.object({ kind: z.literal("service"), service: z.string() }),
    /** A target behind a connector; the prefix is cut off. */
    z.object({ kind: z.literal("target"), target: z.string() }),
  ]),
  timeouts: routeTimeouts.nullable().optional(),
});
export type TenantRoute = z.infer<typeof tenantRoute>;

export const tenantState = z.enum(["provisioning", "active", "suspended", "failed"]);
export type TenantState = z.infer<typeof tenantState>;

/** What the edge knows of one host (design: data plane, no database behind it). */
export const directoryRecord = z.object({
  /** Lower case, no port. */
  host: z.string().max(253),
  tenantId: z.string(),
  slug: z.string(),
  cluster: z.string(),
  state: tenantState,
  /** The node that serves it; null until one is chosen. `url` is the node's own base URL, `id` the audience of the proof. */
  node: z.object({ id: z.string(), name: z.string(), url: z.string() }).nullable(),
  routes: z.array(tenantRoute).max(200),
  /** Raising it ends everybody's sessions on this tenant. */
  accessRevision: z.number().int().nonnegative(),
  /** Account id -> epoch seconds: tokens of that account issued before are refused. Bounded. */
  notBefore: z.record(z.string(), z.number()),
  /** Of the tenant; older ones never replace newer ones. */
  revision: z.number().int().nonnegative(),
});
export type DirectoryRecord = z.infer<typeof directoryRecord>;

/** Calls of a directory object (one shard). */
export interface DirectoryRpc {
  lookup(host: string): Promise<DirectoryRecord | null>;
  /** `applied: false` when a newer revision (or a newer tombstone) is there. Also refused: a host that another tenant holds. */
  publish(record: DirectoryRecord): Promise<{ applied: boolean; revision: number }>;
  /** Removes the host if the tenant holds it, and leaves a tombstone with the revision. */
  withdraw(host: string, tenantId: string, revision: number): Promise<{ applied: boolean; revision: number }>;
}

/** Shards of the directory. A constant, not a setting: changing it would move every host to another object. */
export const DIRECTORY_SHARDS = 16;

/** Name of the directory object that holds a host: FNV-1a over the lower-case host, modulo the shards. */
export function directoryShard(host: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < host.length; i++) hash = Math.imul(hash ^ host.charCodeAt(i), 0x01000193) >>> 0;
  return `directory-${hash % DIRECTORY_SHARDS}`;
}

/** Key of a host's copy in the KV namespace DIRECTORY_COPY; the value is the record as JSON. Read only while the directory is away. */
export const directoryCopyKey = (host: string): string => `host:${host}`;
