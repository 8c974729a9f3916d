import { z } from "zod";
import { roleName } from "../protocol/portal-rpc.ts";
import { corsPolicy, edgePolicy, maintenance, networkRules, trafficLimits } from "./edge-policy.ts";

/**
 * Who may use a route. `password`: whoever knows the tenant's visitor password. `sign-up`: whoever has an account, which anybody can make.
 * `sign-up-password`: both. `member`: invited only. A service token whose scope covers the route is good in place of any of them.
 */
export const accessMode = z.enum(["public", "password", "sign-up", "sign-up-password", "member"]);
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

/** The least role that may use a route of mode `member`, and that may change things there (anything but GET, HEAD, OPTIONS). */
export const routeRoles = z.object({ use: roleName.optional(), write: roleName.optional() });
export type RouteRoles = z.infer<typeof routeRoles>;

/** What the next hop sees instead. */
export const routeRewrite = z.object({
  /** In place of the route's prefix. Default: a service gets the path as it came, a target the path without the prefix. */
  prefix: z.string().startsWith("/").max(255).optional(),
  /** In place of the visitor's Host, for a service. X-Forwarded-Host stays the visitor's. */
  host: z.string().max(253).optional(),
});

export const tenantRoute = z.object({
  /** Segment-aware prefix: "/" or without a trailing slash. The longest match wins. */
  prefix: z.string().startsWith("/").max(255),
  /** Only the prefix itself, nothing below it. Of redirects and answers alone: a node and a target get all that is below. */
  exact: z.boolean().nullable().optional(),
  access: accessMode,
  to: z.discriminatedUnion("kind", [
    /** A service on the tenant's node; path and query go through unchanged. */
    z.object({ kind: z.literal("service"), service: z.string() }),
    /** A target behind a connector; the prefix is cut off. */
    z.object({ kind: z.literal("target"), target: z.string() }),
    /** Somewhere else: an http(s) address, or a path of this host. */
    z.object({
      kind: z.literal("redirect"),
      location: z.string().max(2_000),
      status: z.union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)]),
      /** The path behind the prefix is added. */
      keepPath: z.boolean(),
      keepQuery: z.boolean(),
    }),
    /** Always the same. */
    z.object({
      kind: z.literal("answer"),
      status: z.number().int().min(200).max(599),
      contentType: z.string().max(200),
      body: z.string().max(8_192),
    }),
  ]),
  rewrite: routeRewrite.nullable().optional(),
  timeouts: routeTimeouts.nullable().optional(),
  roles: routeRoles.nullable().optional(),
  /** These hold beside the tenant's own. */
  network: networkRules.nullable().optional(),
  limits: trafficLimits.nullable().optional(),
  /** In place of the tenant's. */
  cors: corsPolicy.nullable().optional(),
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
  /** Absent: no rules beside the routes'. */
  policy: edgePolicy.optional(),
  /** Of the whole platform, or of the cluster; put there by the directory, for all hosts at once. Absent: none. */
  notice: maintenance.optional(),
  /** Of the newest notice that concerns the host, be it over; absent: there never was one. Later copies of a record may know less. */
  noticeRevision: z.number().int().positive().optional(),
  /** Raising it ends everybody's sessions on this tenant. */
  accessRevision: z.number().int().nonnegative(),
  /** Account id -> epoch seconds: tokens of that account issued before are refused. Bounded. */
  notBefore: z.record(z.string(), z.number()),
  /** Of the tenant; older ones never replace newer ones. */
  revision: z.number().int().nonnegative(),
});
export type DirectoryRecord = z.infer<typeof directoryRecord>;

/** Maintenance of everything (`*`), or of one cluster, by its name. */
export const maintenanceNotice = z.object({
  scope: z.string().min(1).max(64),
  revision: z.number().int().nonnegative(),
  /** Null: it is over. */
  maintenance: maintenance.nullable(),
});
export type MaintenanceNotice = z.infer<typeof maintenanceNotice>;

/** Scope of the whole platform; and the name, no host's, under which the directory tells of it to who has no tenant. */
export const WHOLE_PLATFORM = "*";

/** Calls of a directory object (one shard). */
export interface DirectoryRpc {
  /** With the notice that holds for it. Of `WHOLE_PLATFORM`: a record of nobody with the platform's notice, or null when there is none. */
  lookup(host: string): Promise<DirectoryRecord | null>;
  /** The same; but where no tenant has the host, a record of nobody with the platform's notice if there is one: one read tells both. */
  lookupOrNotice(host: string): Promise<DirectoryRecord | null>;
  /** `applied: false` when a newer revision (or a newer tombstone) is there. Also refused: a host that another tenant holds. */
  publish(record: DirectoryRecord): Promise<{ applied: boolean; revision: number }>;
  /** Removes the host if the tenant holds it, and leaves a tombstone with the revision. */
  withdraw(host: string, tenantId: string, revision: number): Promise<{ applied: boolean; revision: number }>;
  /** To be told to every shard. An older revision never replaces a newer one. */
  putNotice(notice: MaintenanceNotice): Promise<{ applied: boolean; revision: number }>;
}

/** Shards of the directory. A constant, not a setting: changing it would move every host to another object. */
export const DIRECTORY_SHARDS = 16;

/** Name of the directory object that holds a host: FNV-1a over the lower-case host, modulo the shards. */
export function directoryShard(host: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < host.length; i++) hash = Math.imul(hash ^ host.charCodeAt(i), 0x01000193) >>> 0;
  return `directory-${hash % DIRECTORY_SHARDS}`;
}

/** Names of all of them. */
export const DIRECTORY_SHARD_NAMES: readonly string[] = Array.from(
  { length: DIRECTORY_SHARDS },
  (_, index) => `directory-${index}`,
);

/** Key of a host's copy in the KV namespace DIRECTORY_COPY; the value is the record as JSON. Read only while the directory is away. */
export const directoryCopyKey = (host: string): string => `host:${host}`;

/** Key of a directory object's notices there, as a JSON list: all that it was told, also those that are over. */
export const noticesCopyKey = (shard: string): string => `notices:${shard}`;
