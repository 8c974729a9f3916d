import { sql } from "drizzle-orm";
import { newId } from "../shared/ids.ts";
import { recordAudit } from "./audit.ts";
import type { Db } from "./client.ts";
import { enqueueOperation } from "./operations.ts";

/** What was not as it should be. */
export interface HealedWorkspaces {
  /** Entries that were the same workspace once more. */
  readonly duplicates: number;
  /** Tenants that had no default workspace, or several. */
  readonly defaults: number;
}

/**
 * Every tenant has each of its workspaces once, and exactly one default. Two constraints see to that; they are gone, or hold no longer, in a
 * database that was restored without them, or whose indexes the operating system's new collation has broken. Duplicates become one: the default
 * one, else the oldest. Services go with it, unless it has one of that name; nodes are told by an operation. Then the constraints are made
 * again. In a transaction, as the tables' owner; safe to repeat. Null: all is well.
 */
export async function healWorkspaces(tx: Db): Promise<HealedWorkspaces | null> {
  // Not by the indexes that are in question.
  await tx.execute(
    sql`set local enable_indexscan = off; set local enable_indexonlyscan = off; set local enable_bitmapscan = off`,
  );
  const duplicates = await tx.execute<{ id: string; kept: string; tenantId: string }>(sql`
    select id, kept, tenant_id as "tenantId" from (
      select id, tenant_id, first_value(id) over (
        partition by tenant_id, name order by is_default desc, created_at, id) as kept
      from control.workspaces) ranked
    where id <> kept order by id`);
  const [odd] = await tx.execute<{ n: number }>(sql`
    select count(*)::int as n from (
      select 1 from control.tenants tenant left join control.workspaces workspace
        on workspace.tenant_id = tenant.id and workspace.is_default
      group by tenant.id having count(distinct workspace.name) <> 1) tenants`);
  const defaults = odd?.n ?? 0;
  const [found] = await tx.execute<{ n: number }>(sql`
    select count(*)::int as n from pg_class index join pg_namespace on pg_namespace.oid = index.relnamespace
    where nspname = 'control' and relname in ('workspaces_name_per_tenant', 'workspaces_one_default')`);
  if (duplicates.length === 0 && defaults === 0 && found?.n === 2) return null;

  await tx.execute(sql`lock table control.workspaces, control.services in share row exclusive mode`);
  await tx.execute(sql`
    alter table control.workspaces drop constraint if exists workspaces_name_per_tenant;
    drop index if exists control.workspaces_one_default`);
  for (const { id, kept, tenantId } of duplicates) {
    await tx.execute(sql`
      update control.services moved set workspace_id = ${kept}
      where tenant_id = ${tenantId} and workspace_id = ${id} and not exists (
        select 1 from control.services own
        where own.tenant_id = moved.tenant_id and own.workspace_id = ${kept} and own.name = moved.name)`);
    await tx.execute(sql`delete from control.workspaces where id = ${id}`);
  }
  if (defaults > 0) await oneDefaultEach(tx);
  await tx.execute(sql`
    alter table control.workspaces add constraint workspaces_name_per_tenant unique (tenant_id, name);
    create unique index workspaces_one_default on control.workspaces (tenant_id) where is_default`);
  await tellNodes(tx, [...new Set(duplicates.map(({ tenantId }) => tenantId))]);
  return { duplicates: duplicates.length, defaults };
}

/** The one that is called so, else the oldest of those that say so, else the oldest; a new one where there is none. */
async function oneDefaultEach(tx: Db): Promise<void> {
  const empty = await tx.execute<{ id: string }>(sql`
    select id from control.tenants tenant
    where not exists (select 1 from control.workspaces where tenant_id = tenant.id) order by id`);
  for (const { id } of empty)
    await tx.execute(sql`
      insert into control.workspaces (id, tenant_id, name, is_default) values (${newId("wks")}, ${id}, 'default', true)`);
  await tx.execute(sql`
    update control.workspaces workspace set is_default = (workspace.id = chosen.id)
    from (
      select distinct on (tenant_id) tenant_id, id from control.workspaces
      order by tenant_id, name = 'default' desc, is_default desc, created_at, id) chosen
    where chosen.tenant_id = workspace.tenant_id and is_default <> (workspace.id = chosen.id) and workspace.tenant_id in (
      select tenant_id from control.workspaces group by tenant_id having count(*) filter (where is_default) <> 1)`);
}

/** Instances of a workspace that is no more end there. */
async function tellNodes(tx: Db, tenantIds: readonly string[]): Promise<void> {
  for (const tenantId of tenantIds) {
    const [tenant] = await tx.execute<{ state: string; now: string }>(sql`
      update control.tenants set revision = nextval('control.revision'), updated_at = now()
      where id = ${tenantId} returning state, now()::text`);
    if (tenant === undefined) continue;
    const now = new Date(tenant.now);
    const event = { actor: "system:migrate", action: "workspace.healed", subjectId: tenantId, tenantId };
    await recordAudit(tx, { ...event, requestId: null, details: {} }, now);
    if (tenant.state === "active" || tenant.state === "suspended")
      await enqueueOperation(tx, { kind: "tenant-services", subjectId: tenantId, tenantId, now });
  }
}
