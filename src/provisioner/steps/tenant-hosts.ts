import { and, eq, inArray, isNotNull, isNull, sql } from "drizzle-orm";
import { isWithdrawn } from "../../db/hosts.ts";
import { hosts, tenants } from "../../db/schema.ts";
import { frontChangeOf, tellMasters } from "../masters.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** Hosts on their way out are unknown to visitors, before anything else of them goes: within 10 s from here everywhere. */
export const withdrawOldHosts: Step = async ({ ports, operation: { tenantId }, commit }) => {
  if (tenantId === null) return { kind: "give-up", reason: "it does not say which tenant" };
  const leaving = and(eq(hosts.tenantId, tenantId), isNotNull(hosts.leavingSince), isNull(hosts.withdrawnAt));
  const { names, revision, front } = await commit(async (tx) => {
    // A revision of its own: what slower runs of earlier operations still publish is older.
    const [tenant] = await tx
      .update(tenants)
      .set({ revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, tenantId))
      .returning();
    const rows = await tx.select({ host: hosts.host }).from(hosts).where(leaving);
    const visible = tenant?.state === "deleting" ? "suspended" : (tenant?.state ?? "suspended");
    const front = tenant === undefined || rows.length === 0 ? null : await frontChangeOf(tx, tenant, visible);
    return { names: rows.map(({ host }) => host), revision: tenant?.revision ?? 0, front };
  });
  if (names.length === 0) return DONE;
  for (const host of names) await ports.directory(host).withdraw(host, tenantId, revision);
  await tellMasters(ports, front);
  await commit((tx) =>
    tx
      .update(hosts)
      .set({ withdrawnAt: new Date(ports.clock()) })
      .where(and(leaving, inArray(hosts.host, names))),
  );
  return DONE;
};

/** What neither directory nor node nor front has any more is free for others. */
export const settleHosts: Step = async ({ operation, commit }) => {
  await commit((tx) => tx.delete(hosts).where(and(eq(hosts.tenantId, operation.subjectId), isWithdrawn)));
  return DONE;
};
