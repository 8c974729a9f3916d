import { exports } from "cloudflare:workers";
import { inject } from "vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import type { CreateOwnTenantInput, TenantsRpc } from "../../../src/protocol/tenants-rpc.ts";
import { newId } from "../../../src/shared/ids.ts";
import { call, makeNode, unique } from "./api.ts";

// The console's entrypoint `Tenants`, called as the portal calls it: over RPC, on workerd, with the console's own database role.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the runtime's type knows the default export only
const entrypoint = exports as unknown as { readonly Tenants: TenantsRpc };
const rpc = entrypoint.Tenants;
const admin = connectSql(inject("database").adminUrl, 2);

let domain: string;
beforeAll(async () => {
  const [cluster] = await admin`select base_domains[1] as domain from control.clusters where name = 'default'`;
  domain = String(cluster?.["domain"]);
  await makeNode("default", 1_000);
});

/** What a call is refused with. (Whoever looks into a call's promise before its end asks for parts of an answer that will not come.) */
const errorOf = (work: () => Promise<unknown>): Promise<string> =>
  (async () => await work())().then(
    () => expect.unreachable("it was taken"),
    (cause: unknown) => String(cause),
  );

const input = (over: Partial<CreateOwnTenantInput> = {}): CreateOwnTenantInput => ({
  tenantId: newId("ten"),
  slug: unique("mine"),
  accountId: "usr_ann",
  requestId: "req_1",
  ...over,
});
async function made(over: Partial<CreateOwnTenantInput> = {}): Promise<CreateOwnTenantInput> {
  const asked = input(over);
  expect(await rpc.create(asked)).toEqual({ kind: "created" });
  return asked;
}
const rowOf = async (tenantId: string) => {
  const [row] = await admin`
    select slug, state, access_revision, not_before, revision::int from control.tenants where id = ${tenantId}`;
  return row;
};
const operationsOf = async (tenantId: string) =>
  (await admin`select kind from control.operations where subject_id = ${tenantId} order by seq`).map(
    ({ kind }) => kind as unknown,
  );

describe("create", () => {
  test("makes a tenant in the default cluster, on record as the person's doing, once for the same id", async () => {
    const asked = await made();
    expect(await rowOf(asked.tenantId)).toMatchObject({ slug: asked.slug, state: "provisioning" });
    expect(await rpc.create(asked)).toEqual({ kind: "created" });
    expect(await operationsOf(asked.tenantId)).toEqual(["tenant-create"]);
    const { items } = (await call("GET", `/api/v1/audit?subject=${asked.tenantId}`)).body;
    expect(items).toMatchObject([{ actor: "account:usr_ann", action: "tenant.create" }]);
  });

  test("with the id of somebody's tenant changes nothing of it", async () => {
    const theirs = await made();
    const before = await rowOf(theirs.tenantId);
    expect(await rpc.create(input({ tenantId: theirs.tenantId, accountId: "usr_eve" }))).toEqual({ kind: "created" });
    expect(await rowOf(theirs.tenantId)).toEqual(before);
  });

  test("refuses names as for operators, in a sentence, and leaves nothing", async () => {
    const taken = await made();
    for (const [slug, code] of [
      [taken.slug, "conflict"],
      ["default", "bad-request"],
      ["Not A Name", "bad-request"],
      ["www", "bad-request"],
    ] as const) {
      const asked = input({ slug });
      expect(await rpc.create(asked)).toEqual({ kind: "refused", code, detail: expect.stringMatching(/\w.*\./) });
      expect(await rowOf(asked.tenantId)).toBeUndefined();
    }
  });

  test("takes nothing that it does not know: no other cluster, node or role", async () => {
    for (const over of [{ cluster: "west" }, { node: "walter" }, { role: "owner" }]) {
      const asked = { ...input(), ...over };
      expect(await errorOf(() => rpc.create(asked))).toContain("ZodError");
      expect(await rowOf(asked.tenantId)).toBeUndefined();
    }
    expect(await errorOf(() => rpc.create(input({ accountId: "" })))).toContain("ZodError");
  });
});

describe("show", () => {
  test("tells of those ids alone, and nothing that is a secret or somebody else's", async () => {
    const [mine, theirs] = [await made(), await made({ accountId: "usr_bob" })];
    expect(await rpc.show([mine.tenantId, "ten_nobody"])).toEqual([
      {
        tenantId: mine.tenantId,
        state: "provisioning",
        host: `${mine.slug}.${domain}`,
        startPath: "/app",
        steps: expect.arrayContaining([{ name: "reserve-host", state: "pending" }]),
      },
    ]);
    expect(await rpc.show([])).toEqual([]);
    expect((await rpc.show([theirs.tenantId])).map(({ tenantId }) => tenantId)).toEqual([theirs.tenantId]);
    expect(await errorOf(() => rpc.show(Array.from({ length: 101 }, () => mine.tenantId)))).toContain("ZodError");
  });

  test("names the host that the tenant has, not one that it is losing", async () => {
    const mine = await made();
    const added = `${mine.slug}.new.localhost`;
    await admin`insert into control.hosts (host, tenant_id, kind) values (${added}, ${mine.tenantId}, 'primary')`;
    await admin`update control.hosts set leaving_since = now() where host = ${`${mine.slug}.${domain}`}`;
    expect(await rpc.show([mine.tenantId])).toMatchObject([{ host: added }]);
  });
});

describe("endSessions", () => {
  const end = (tenantId: string, over: Record<string, unknown> = {}) =>
    rpc.endSessions({
      tenantId,
      accountId: "usr_bob",
      byAccountId: "usr_ann",
      requestId: "req_2",
      reason: "removed",
      ...over,
    });

  test("of one person raises that person's moment, of everybody the access revision; of that tenant alone", async () => {
    const [mine, theirs] = [await made(), await made()];
    const before = await rowOf(theirs.tenantId);
    expect(await end(mine.tenantId)).toBe(true);
    expect(await rowOf(mine.tenantId)).toMatchObject({
      access_revision: 1,
      not_before: { usr_bob: expect.any(Number) },
    });
    expect(await end(mine.tenantId, { accountId: null, reason: "provider-changed" })).toBe(true);
    expect(await rowOf(mine.tenantId)).toMatchObject({ access_revision: 2 });
    expect(await operationsOf(mine.tenantId)).toEqual([
      "tenant-create",
      "tenant-revoke-sessions",
      "tenant-revoke-sessions",
    ]);
    expect(await rowOf(theirs.tenantId)).toEqual(before);
    const { items } = (await call("GET", `/api/v1/audit?subject=${mine.tenantId}`)).body;
    expect(items).toMatchObject([
      { actor: "account:usr_ann", details: { accountId: null, reason: "provider-changed" } },
      { actor: "account:usr_ann", details: { accountId: "usr_bob", reason: "removed" } },
      {},
    ]);
  });

  test("says that there is no such tenant, and takes no reason that it does not know", async () => {
    expect(await end("ten_nobody")).toBe(false);
    const mine = await made();
    expect(await errorOf(() => end(mine.tenantId, { reason: "because" }))).toContain("ZodError");
    expect(await errorOf(() => end(mine.tenantId, { byAccountId: undefined }))).toContain("ZodError");
    expect(await operationsOf(mine.tenantId)).toEqual(["tenant-create"]);
  });
});

test("what goes wrong inside does not travel: no query, no parameter", async () => {
  const error = await errorOf(() => rpc.show(["ten_secret", "\0"]));
  expect(error).toContain("the console could not do show");
  expect(error).not.toContain("ten_secret");
});
