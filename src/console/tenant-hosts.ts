import { z } from "@hono/zod-openapi";
import { and, count, eq, isNull } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { allHostsOf, claimsOf } from "../db/hosts.ts";
import type { HostClaimRow } from "../db/hosts.ts";
import { clusters, FRONT_STATES, hostClaims, hosts } from "../db/schema.ts";
import type { HostRow, TenantAndCluster } from "../db/tenants.ts";
import { HOST_PROBLEM_TEXT, newHostToken, parseCustomHost, proofRecords } from "../policy/custom-host.ts";
import { ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import { fail, notFound } from "./failure.ts";
import type { Failure } from "./failure.ts";
import { MAX_CUSTOM_HOSTS_PER_TENANT } from "./limits.ts";

/** A tenant's hosts as the API shows them, and claims of custom ones (docs/tenants.md, "Custom hosts"). */

const time = z.iso.datetime();
const dnsRecord = z
  .object({ type: z.enum(["TXT", "CNAME"]), name: z.string(), value: z.string() })
  .openapi("DnsRecord");

const HOST_STATES = ["pending", "verified", "stale", "failed", "leaving"] as const;

export const hostView = z
  .object({
    host: z.string().openapi({ description: "Lower case; internationalised names in their ASCII form" }),
    kind: z.enum(["primary", "custom"]),
    state: z.enum(HOST_STATES).openapi({
      description:
        "verified and stale ones are served; stale: the proof is gone, and the host is withdrawn if it stays away; leaving: on its way out",
    }),
    reason: z.string().nullable().openapi({ description: "What the last check missed" }),
    records: z.array(dnsRecord).openapi({ description: "DNS records that prove a custom host; one is enough" }),
    method: z.enum(["txt", "cname"]).nullable().openapi({ description: "Record that proved it last" }),
    verifiedAt: time.nullable().openapi({ description: "When the proof was last seen" }),
    checkedAt: time.nullable(),
    nextCheckAt: time.nullable().openapi({ description: "Null: not by itself; ask for a check" }),
    front: z
      .object({
        state: z.enum(FRONT_STATES),
        reason: z.string().nullable(),
        records: z.array(dnsRecord).openapi({ description: "Records that the provider asks for, beside the proof" }),
        checkedAt: time.nullable(),
      })
      .nullable()
      .openapi({
        description: "Certificate and custom hostname at the provider of the front; null: none is told of it",
      }),
    createdAt: time,
  })
  .openapi("Host");
export type HostView = z.input<typeof hostView>;

const iso = (date: Date | null): string | null => (date === null ? null : date.toISOString());

/** All hosts of a tenant: those that are served, and those that it claims, by name. */
export async function showHosts(db: Db, { tenant, cluster }: TenantAndCluster): Promise<HostView[]> {
  const base = cluster.baseDomains[0] ?? "";
  const claims = await claimsOf(db, tenant.id);
  const rows = await allHostsOf(db, tenant.id);
  const claimed = claims.map((claim) =>
    viewClaim(
      claim,
      rows.find(({ host, leavingSince }) => host === claim.host && leavingSince === null),
      base,
    ),
  );
  const others = rows.filter(({ host }) => !claims.some((claim) => claim.host === host)).map(viewUnclaimed);
  return [...claimed, ...others].toSorted((a, b) => (a.host < b.host ? -1 : 1));
}

export async function showHost(db: Db, found: TenantAndCluster, host: string): Promise<HostView> {
  const view = (await showHosts(db, found)).find((one) => one.host === host);
  if (view === undefined) throw new Error("a host just written is not there");
  return view;
}

const viewClaim = (claim: HostClaimRow, row: HostRow | undefined, base: string): HostView => {
  const { txt, cname } = proofRecords(claim.host, claim.token, base);
  return {
    host: claim.host,
    kind: "custom",
    state: claim.state,
    reason: claim.reason,
    records: [txt, cname],
    method: claim.method,
    verifiedAt: iso(claim.verifiedAt),
    checkedAt: iso(claim.checkedAt),
    nextCheckAt: iso(claim.nextCheckAt),
    front: row === undefined ? null : viewFront(row),
    createdAt: claim.createdAt.toISOString(),
  };
};

/** Of the platform's own domains, or a custom one that is on its way out. */
const viewUnclaimed = (row: HostRow): HostView => ({
  host: row.host,
  kind: row.kind,
  state: row.leavingSince === null ? "verified" : "leaving",
  reason: null,
  records: [],
  method: null,
  verifiedAt: null,
  checkedAt: null,
  nextCheckAt: null,
  front: viewFront(row),
  createdAt: row.createdAt.toISOString(),
});

const viewFront = ({ frontState, frontReason, frontRecords, frontCheckedAt }: HostRow): HostView["front"] =>
  frontState === null
    ? null
    : { state: frontState, reason: frontReason, records: frontRecords ?? [], checkedAt: iso(frontCheckedAt) };

/** The host in its canonical form, if it may be a tenant's. */
export async function readCustomHost(db: Db, text: string): Promise<Result<string, Failure>> {
  const rows = await db.select({ baseDomains: clusters.baseDomains }).from(clusters);
  const parsed = parseCustomHost(
    text,
    rows.flatMap(({ baseDomains }) => baseDomains),
  );
  return parsed.ok ? parsed : fail("bad-request", `host: ${HOST_PROBLEM_TEXT[parsed.error]}`);
}

/** Writes a claim with a new token. Under the lock of the tenant's row. */
export async function claimHost(
  tx: Db,
  { tenant }: TenantAndCluster,
  host: string,
  now: Date,
): Promise<Result<HostClaimRow, Failure>> {
  const [held] = await tx.select().from(hosts).where(eq(hosts.host, host));
  if (held !== undefined && held.tenantId !== tenant.id)
    return fail("conflict", `Another tenant has "${host}". Remove it there first.`);
  const [claims] = await tx.select({ n: count() }).from(hostClaims).where(eq(hostClaims.tenantId, tenant.id));
  if ((claims?.n ?? 0) >= MAX_CUSTOM_HOSTS_PER_TENANT)
    return fail("conflict", `A tenant has at most ${MAX_CUSTOM_HOSTS_PER_TENANT} hosts of its own.`);
  const token = newHostToken((bytes) => crypto.getRandomValues(bytes));
  const [claim] = await tx
    .insert(hostClaims)
    .values({ tenantId: tenant.id, host, token, stateSince: now, nextCheckAt: now, createdAt: now })
    .onConflictDoNothing()
    .returning();
  return claim === undefined ? fail("conflict", `The tenant has claimed "${host}" already.`) : ok(claim);
}

/** The claim is to be looked at again, from the beginning where it was given up. */
export async function reopenClaim(
  tx: Db,
  tenantId: string,
  host: string,
  now: Date,
): Promise<Result<HostClaimRow, Failure>> {
  const own = and(eq(hostClaims.tenantId, tenantId), eq(hostClaims.host, host));
  const [claim] = await tx.update(hostClaims).set({ nextCheckAt: now }).where(own).returning();
  if (claim === undefined) return notFound("custom host", host);
  if (claim.state === "failed") await tx.update(hostClaims).set({ state: "pending", stateSince: now }).where(own);
  return ok(claim);
}

/** Drops the claim. False: the tenant has none, and does not serve the host as its own either. */
export async function dropClaim(tx: Db, tenantId: string, host: string): Promise<boolean> {
  const dropped = await tx
    .delete(hostClaims)
    .where(and(eq(hostClaims.tenantId, tenantId), eq(hostClaims.host, host)))
    .returning({ host: hostClaims.host });
  if (dropped.length > 0) return true;
  const current = and(eq(hosts.tenantId, tenantId), eq(hosts.kind, "custom"), isNull(hosts.leavingSince));
  const [served] = await tx
    .select()
    .from(hosts)
    .where(and(current, eq(hosts.host, host)));
  return served !== undefined;
}
