import { eq, sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { enqueueOperation } from "../../../src/db/operations.ts";
import { tenants } from "../../../src/db/schema.ts";
import { LOGIN_GRACE_MS } from "../../../src/provisioner/limits.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { settle } from "./failure-injections.ts";
import { bindings, databaseUrlOf, makeCluster, operationOf, requestDeletion, requestTenant, world } from "./support.ts";

const w = world();

async function rotate(tenantId: string): Promise<string> {
  const { operationId } = await w.db.transaction(async (tx) => {
    await tx
      .update(tenants)
      .set({ revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, tenantId));
    return enqueueOperation(tx, { kind: "tenant-rotate-credentials", subjectId: tenantId, tenantId, now: new Date(0) });
  });
  return operationId;
}

test("services get another login while the old one still works; then that one ends, its sessions too (G11)", async () => {
  const { cluster, nodeIds } = await makeCluster();
  const { tenantId, operationId } = await requestTenant(cluster, "rotated");
  await runOperation(w.ports, operationId);
  const channel = bindings.NODE_CHANNEL.getByName(nodeIds[0] ?? "");
  const url = async () => {
    const last = (await channel.seen()).changes.at(-1);
    if (last?.kind !== "put") throw new Error("nothing was pushed");
    return databaseUrlOf(last.tenant);
  };
  const oldUrl = await url();
  const old = connectSql(oldUrl, 1);
  await old`insert into documents (title, body) values ('kept', '')`;

  // The node is away: both logins work, and nothing is lost by waiting.
  await channel.behave({ kind: "silent", online: false, enrolled: true });
  const first = await rotate(tenantId);
  await runOperation(w.ports, first);
  expect((await operationOf(w, first)).operation).toMatchObject({ state: "pending", reason: "the node is offline" });
  await old`select 1`;
  await channel.behave({ kind: "live" });
  w.advance(LOGIN_GRACE_MS);
  await runOperation(w.ports, first);
  // Somebody still uses the old one.
  expect((await operationOf(w, first)).operation.reason).toBe("1 sessions still use the old login");
  const newUrl = await url();
  expect(new URL(newUrl).username).not.toBe(new URL(oldUrl).username);
  expect(new URL(newUrl).password).not.toBe(new URL(oldUrl).password);
  const fresh = connectSql(newUrl, 1);
  expect(await fresh`select title, current_user as who from documents`).toEqual([{ title: "kept", who: tenantId }]);
  await fresh`create table made_by_new (id int)`;
  w.advance(LOGIN_GRACE_MS);
  await settle(w, first);
  await expect(old`select 1`).rejects.toThrow();
  await expect(connectSql(oldUrl, 1)`select 1`).rejects.toMatchObject({ code: expect.stringMatching(/^28/) });
  expect(await fresh`select 1 as one`).toEqual([{ one: 1 }]);

  // Once more: the login of the first rotation goes altogether, and what was made with it stays.
  await settle(w, await rotate(tenantId));
  const third = connectSql(await url(), 1);
  expect(await third`select tableowner from pg_tables where tablename = 'made_by_new'`).toEqual([
    { tableowner: tenantId },
  ]);
  const roles = async () =>
    (await w.admin`select rolname from pg_roles where rolname like ${`${tenantId}%`}`).map(({ rolname }) => rolname);
  expect(await roles()).toHaveLength(2);
  expect(await roles()).not.toContain(new URL(newUrl).username);
  expect(w.logs.join()).not.toContain(new URL(newUrl).password);

  await settle(w, await requestDeletion(tenantId));
  expect(await roles()).toEqual([]);
});
