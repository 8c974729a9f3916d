import { eq, sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { enqueueOperation } from "../../../src/db/operations.ts";
import { tenants } from "../../../src/db/schema.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { LEASE_MS } from "../../../src/provisioner/limits.ts";
import { beginStep, claimOperation, fenced, LeaseLost } from "../../../src/provisioner/store.ts";
import {
  bindings,
  lookup,
  makeCluster,
  operationOf,
  requestDeletion,
  requestTenant,
  tenantRow,
  world,
} from "./support.ts";

test("route first, then services, then data; other tenants untouched, and the name is free again (H56, G16)", async () => {
  const w = world();
  const { cluster, nodeIds } = await makeCluster();
  const gone = await requestTenant(cluster, "gone");
  const stays = await requestTenant(cluster, "stays");
  const members = [];
  for (const { operationId, tenantId } of [gone, stays]) {
    await runOperation(w.ports, operationId);
    const person = { email: `ann@${cluster}.example`, password: "correct horse battery", role: "owner" } as const;
    members.push(await bindings.PORTAL_MEMBERS.ensureMember({ tenantId, slug: "x", cluster, ...person }));
  }
  const [ann] = members;
  await w.admin`insert into portal.invitation (id, organization_id, email, expires_at, inviter_id)
    values (${`inv-${cluster}`}, ${gone.tenantId}, 'bob@example.com', now() + interval '1 day', ${ann?.accountId ?? ""})`;
  await w.admin`insert into portal.session (id, token, expires_at, user_id, active_organization_id)
    values (${cluster}, ${cluster}, now() + interval '1 day', ${ann?.accountId ?? ""}, ${gone.tenantId})`;
  for (const { tenantId, host } of [gone, stays])
    await w.admin`insert into portal.sign_in_code (code_hash, session_id, user_id, tenant_id, host, code_challenge, expires_at)
      values (${`${tenantId}${"x".repeat(40)}`.slice(0, 64).padEnd(64, "x")}, ${cluster}, ${ann?.accountId ?? ""}, ${tenantId}, ${host}, 'x', now())`;
  const { operationId } = await w.db.transaction(async (tx) => {
    await tx
      .update(tenants)
      .set({ state: "deleting", revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, gone.tenantId));
    return enqueueOperation(tx, {
      kind: "tenant-delete",
      subjectId: gone.tenantId,
      tenantId: gone.tenantId,
      now: new Date(0),
    });
  });
  await Promise.all([1, 2, 3].map(() => runOperation(w.ports, operationId)));
  const { operation, steps } = await operationOf(w, operationId);
  expect(operation).toMatchObject({ state: "succeeded", reason: null });
  expect(steps.map(({ name }) => name)).toEqual([
    "withdraw-host",
    "remove-jobs",
    "remove-from-node",
    "remove-fronts",
    "remove-connectors",
    "remove-members",
    "drop-schema",
    "forget",
  ]);
  expect(await lookup(gone.host)).toBeNull();
  expect(await tenantRow(w, gone.tenantId)).toBeUndefined();
  const { changes } = await bindings.NODE_CHANNEL.getByName(nodeIds[0] ?? "").seen();
  expect(changes.at(-1)).toMatchObject({ kind: "remove", tenantId: gone.tenantId });
  expect(await w.admin`select 1 from pg_namespace where nspname = ${gone.tenantId}`).toEqual([]);
  expect(await w.admin`select 1 from pg_roles where rolname = ${gone.tenantId}`).toEqual([]);

  // The portal has forgotten the tenant, not the person: she is a member elsewhere.
  for (const [tenantId, n] of [
    [gone.tenantId, 0],
    [stays.tenantId, 1],
  ] as const)
    expect(
      await w.admin`select
        (select count(*)::int from portal.organization where id = ${tenantId}) as organizations,
        (select count(*)::int from portal.member where organization_id = ${tenantId}) as members,
        (select count(*)::int from portal.sign_in_code where tenant_id = ${tenantId}) as codes,
        (select count(*)::int from portal.invitation where organization_id = ${tenantId}) as invitations`,
    ).toEqual([{ organizations: n, members: n, codes: n, invitations: 0 }]);
  expect(await w.admin`select active_organization_id as active from portal.session where id = ${cluster}`).toEqual([
    { active: null },
  ]);

  expect((await lookup(stays.host))?.state).toBe("active");
  expect(await w.admin`select count(*)::int as n from pg_namespace where nspname = ${stays.tenantId}`).toEqual([
    { n: 1 },
  ]);

  const again = await requestTenant(cluster, "gone");
  await runOperation(w.ports, again.operationId);
  expect((await lookup(again.host))?.tenantId).toBe(again.tenantId);
  // A late message of the old one's creation has nothing to work on.
  await runOperation(w.ports, gone.operationId);
  expect((await lookup(again.host))?.tenantId).toBe(again.tenantId);
});

test("while the portal is away a deletion waits with the data still there, and ends later", async () => {
  const w = world();
  const { cluster } = await makeCluster();
  const { tenantId, operationId: made } = await requestTenant(cluster, "patient");
  await runOperation(w.ports, made);
  const { operationId } = await w.db.transaction(async (tx) => {
    await tx.update(tenants).set({ state: "deleting" }).where(eq(tenants.id, tenantId));
    return enqueueOperation(tx, { kind: "tenant-delete", subjectId: tenantId, tenantId, now: new Date(0) });
  });
  const away = { removeTenant: () => Promise.reject(new Error("the portal could not do removeTenant")) };
  await runOperation({ ...w.ports, members: away }, operationId);
  expect((await operationOf(w, operationId)).operation).toMatchObject({ state: "pending", attempts: 1 });
  expect(await w.admin`select 1 from pg_namespace where nspname = ${tenantId}`).toHaveLength(1);
  w.advance(5_000);
  await runOperation(w.ports, operationId);
  expect((await operationOf(w, operationId)).operation.state).toBe("succeeded");
  expect(await w.admin`select 1 from pg_namespace where nspname = ${tenantId}`).toHaveLength(0);
});

test("a creation that waits for a node that is offline can be deleted, and the node learns of it later (H56)", async () => {
  const w = world();
  const { cluster, nodeIds } = await makeCluster();
  const channel = bindings.NODE_CHANNEL.getByName(nodeIds[0] ?? "");
  await channel.behave({ kind: "silent", online: false, enrolled: true });
  const { tenantId, operationId, host } = await requestTenant(cluster, "stuck", `${cluster}-n0`);
  await runOperation(w.ports, operationId);
  expect((await operationOf(w, operationId)).operation.reason).toBe("the node is offline");
  const deletion = await requestDeletion(tenantId);
  await runOperation(w.ports, deletion);
  expect((await operationOf(w, deletion)).operation).toMatchObject({ state: "succeeded" });
  expect(await lookup(host)).toBeNull();
  expect(await tenantRow(w, tenantId)).toBeUndefined();
  expect((await channel.seen()).changes.map(({ kind }) => kind)).toEqual(["put", "remove"]);
  expect(await w.admin`select 1 from pg_namespace where nspname = ${tenantId}`).toEqual([]);
  // The creation's own message is still under way.
  await channel.behave({ kind: "live" });
  w.advance(60_000);
  await runOperation(w.ports, operationId);
  expect((await operationOf(w, operationId)).operation).toMatchObject({
    state: "failed",
    reason: "cancelled: tenant-delete was asked for",
  });
  expect(await lookup(host)).toBeNull();
});

test("a creation that runs is fenced off by a deletion, which keeps the schema for last until the run must be over (H56)", async () => {
  const w = world();
  const { cluster } = await makeCluster();
  const { tenantId, operationId, host } = await requestTenant(cluster, "early");
  const claim = await claimOperation(w.db, operationId, "lease-of-the-cancelled", new Date());
  if (claim.kind !== "claimed") throw new Error("not claimed");
  await beginStep(w.db, claim.run, 1, new Date());
  const deletion = await requestDeletion(tenantId);
  await expect(fenced(w.db, claim.run, async () => "written")).rejects.toThrow(LeaseLost);
  await runOperation(w.ports, deletion);
  expect((await operationOf(w, deletion)).operation).toMatchObject({
    state: "pending",
    attempts: 0,
    reason: expect.stringContaining("cancelled operation"),
  });
  expect(await lookup(host)).toBeNull();
  w.advance(LEASE_MS + 1);
  await runOperation(w.ports, deletion);
  expect((await operationOf(w, deletion)).operation.state).toBe("succeeded");
  expect(await tenantRow(w, tenantId)).toBeUndefined();
});

test("a schema that a cancelled run makes after it was dropped is dropped again (H56)", async () => {
  const w = world();
  const later = world();
  const { cluster } = await makeCluster();
  const { tenantId, operationId } = await requestTenant(cluster, "slow");
  let deletion = "";
  const clusterDatabase: typeof w.ports.clusterDatabase = (binding) => {
    const sql = w.ports.clusterDatabase(binding);
    if (sql === null) return null;
    return new Proxy(sql, {
      get(target, name) {
        if (name !== "begin") return Reflect.get(target, name);
        return async (work: Parameters<typeof sql.begin>[1]) => {
          // The run hangs for longer than its lease, and the whole deletion happens meanwhile.
          if (deletion === "") {
            deletion = await requestDeletion(tenantId);
            later.advance(LEASE_MS + 1);
            await runOperation(later.ports, deletion);
          }
          return await target.begin(work);
        };
      },
    });
  };
  await runOperation({ ...w.ports, clusterDatabase }, operationId);
  expect((await operationOf(w, deletion)).operation.state).toBe("succeeded");
  expect(await w.admin`select 1 from pg_namespace where nspname = ${tenantId}`).toEqual([]);
  expect(await w.admin`select 1 from pg_roles where rolname = ${tenantId}`).toEqual([]);
});
