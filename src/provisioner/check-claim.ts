import { and, asc, eq, inArray, lte, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { enqueueHostsChange, leaveHost, takeHost } from "../db/hosts.ts";
import type { HostClaimRow } from "../db/hosts.ts";
import type { Enqueued } from "../db/operations.ts";
import { clusters, hostClaims, tenants } from "../db/schema.ts";
import type { TenantRow } from "../db/tenants.ts";
import { judge } from "./host-claim.ts";
import type { Judgement } from "./host-claim.ts";
import { lookForProof } from "./host-proof.ts";
import type { Verdict } from "./host-proof.ts";
import { HOST_CHECKS, HOST_CHECKS_PARALLEL } from "./limits.ts";
import type { ProvisionerPorts } from "./ports.ts";

type Commit = <T>(work: (tx: Db) => Promise<T>) => Promise<T>;

/** Which claim of which tenant. */
export interface ClaimRef {
  readonly tenantId: string;
  readonly host: string;
}

/** Tenants whose hosts may change: others are being made, or on their way out. */
const CHANGEABLE: readonly TenantRow["state"][] = ["active", "suspended"];

const TAKEN = "it is proven, but another tenant has this host; it has to be removed there first";
const PLATFORMS = "it is proven, but has become a name below a base domain of the platform";

const isClaim = ({ tenantId, host }: ClaimRef) => and(eq(hostClaims.tenantId, tenantId), eq(hostClaims.host, host));

/**
 * Looks for a claim's proof in DNS and writes what came of it. A host that is to be served, or no longer, changes hands in the same
 * transaction, and an operation makes it real. A claim that is gone or new since is left alone.
 */
export async function checkClaim(ports: ProvisionerPorts, ref: ClaimRef, commit: Commit): Promise<void> {
  const [found] = await ports.db
    .select({ claim: hostClaims, cluster: clusters })
    .from(hostClaims)
    .innerJoin(tenants, eq(tenants.id, hostClaims.tenantId))
    .innerJoin(clusters, eq(clusters.id, tenants.clusterId))
    .where(isClaim(ref));
  if (found === undefined) return;
  const [first, ...others] = found.cluster.baseDomains;
  if (first === undefined) throw new Error("a cluster without a base domain");
  const verdict = await lookForProof(ports.dns, found.claim, [first, ...others]);
  const isPublished = verdict.kind !== "proven" || (await isInDirectory(ports, ref));
  const enqueued = await commit((tx) => settle(tx, ports, found.claim, verdict, isPublished));
  if (enqueued !== null) await ports.send({ kind: "operation", ...enqueued }, 0);
}

async function settle(
  tx: Db,
  ports: ProvisionerPorts,
  seen: HostClaimRow,
  verdict: Verdict,
  isPublished: boolean,
): Promise<Enqueued | null> {
  const { tenantId, host } = seen;
  // The tenant's row first, as all that changes a tenant locks them.
  const [tenant] = await tx.select().from(tenants).where(eq(tenants.id, tenantId)).for("no key update");
  const [claim] = await tx.select().from(hostClaims).where(isClaim(seen)).for("update");
  if (tenant === undefined || claim?.token !== seen.token || !CHANGEABLE.includes(tenant.state)) return null;
  const now = new Date(ports.clock());
  const before = { state: claim.state, stateSinceMs: claim.stateSince.getTime() };
  let judged = judge(before, verdict, now.getTime(), ports.random());
  let changed = false;
  if (judged.serve) {
    const isPlatforms = await isBelowBaseDomain(tx, host);
    const taken = isPlatforms ? null : await takeHost(tx, tenantId, host, now);
    const reason = isPlatforms ? PLATFORMS : TAKEN;
    if (taken === null) judged = judge(before, { kind: "missing", reason }, now.getTime(), ports.random());
    changed = taken !== null && (taken.changed || !isPublished);
  } else if (before.state !== "pending") {
    changed = await leaveHost(tx, tenantId, host, now);
  }
  await tx
    .update(hostClaims)
    .set(columnsOf(judged, verdict, now))
    .where(isClaim(claim));
  if (claim.state !== judged.state)
    ports.log.info("a custom host changed its state", { tenantId, host, from: claim.state, to: judged.state });
  return changed ? await enqueueHostsChange(tx, tenantId, now) : null;
}

/** A cluster that came after the claim may have such a domain; what is served already holds it up (POST /clusters). */
async function isBelowBaseDomain(tx: Db, host: string): Promise<boolean> {
  const covering = sql`exists (select 1 from unnest(${clusters.baseDomains}) base
    where ${host} = base or right(${host}, length(base) + 1) = '.' || base)`;
  const [found] = await tx.select({ id: clusters.id }).from(clusters).where(covering).limit(1);
  return found !== undefined;
}

const columnsOf = (judged: Judgement, verdict: Verdict, now: Date): Partial<HostClaimRow> => ({
  state: judged.state,
  stateSince: new Date(judged.stateSinceMs),
  reason: judged.reason,
  checkedAt: now,
  nextCheckAt: judged.nextCheckMs === null ? null : new Date(judged.nextCheckMs),
  ...(judged.state === "verified" && verdict.kind === "proven" && { method: verdict.method, verifiedAt: now }),
});

/** Whether visitors find the host; a directory that does not answer is not asked to prove it. */
async function isInDirectory(ports: ProvisionerPorts, { tenantId, host }: ClaimRef): Promise<boolean> {
  try {
    return (await ports.directory(host).lookup(host))?.tenantId === tenantId;
  } catch {
    return true;
  }
}

/** By cron: claims whose time has come, the longest overdue first. */
export async function checkDueClaims(ports: ProvisionerPorts): Promise<void> {
  const due = await ports.db
    .select({ tenantId: hostClaims.tenantId, host: hostClaims.host })
    .from(hostClaims)
    .innerJoin(tenants, eq(tenants.id, hostClaims.tenantId))
    .where(and(lte(hostClaims.nextCheckAt, new Date(ports.clock())), inArray(tenants.state, [...CHANGEABLE])))
    .orderBy(asc(hostClaims.nextCheckAt))
    .limit(HOST_CHECKS);
  const queue = due.values();
  const worker = async (): Promise<void> => {
    // They share the iterator: each takes the next one that nobody has.
    for (const ref of queue) {
      try {
        await checkClaim(ports, ref, (work) => ports.db.transaction(work));
      } catch (error) {
        ports.log.warn("a host could not be checked", {
          ...ref,
          error: error instanceof Error ? error.name : "unknown",
        });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(HOST_CHECKS_PARALLEL, due.length) }, worker));
}
