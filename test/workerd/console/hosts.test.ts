import { inject } from "vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { call, type Item, makeCluster, makeNode, type Reply, unique } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);

let cluster: string;
beforeAll(async () => {
  cluster = await makeCluster();
  await makeNode(cluster, 1_000);
});

/** Stands for the provisioner: whatever is open of the tenant has succeeded. */
const settle = (tenantId: string) =>
  admin`update control.operations set state = 'succeeded' where tenant_id = ${tenantId} and state = 'pending'`;

interface Tenant {
  readonly id: string;
  readonly slug: string;
  /** Its path in the API. */
  readonly at: string;
}

async function makeTenant(): Promise<Tenant> {
  const slug = unique("acme");
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
  await admin`update control.tenants set state = 'active' where id = ${body.tenant.id}`;
  await settle(body.tenant.id);
  return { id: body.tenant.id, slug, at: `/api/v1/tenants/${slug}@${cluster}` };
}

const claim = ({ at }: Tenant, host: string): Promise<Reply> => call("POST", `${at}/hosts`, { body: { host } });
const listed = async ({ at }: Tenant): Promise<Item[]> => (await call("GET", `${at}/hosts`)).body.items;
const newHost = () => `${unique("www")}.example`;

/** Stands for the provisioner: the proof of a claimed host was seen, and it is served. */
async function prove({ id }: Tenant, host: string): Promise<void> {
  await admin`update control.host_claims set state = 'verified', method = 'txt', verified_at = now() where host = ${host}`;
  await admin`insert into control.hosts (host, tenant_id, kind) values (${host}, ${id}, 'custom')`;
}

describe("a host of a tenant's own (D10)", () => {
  test("is claimed in any spelling; the answer names the records that prove it, and a check is under way", async () => {
    const tenant = await makeTenant();
    const name = unique("münchen");
    const claimed = await claim(tenant, ` ${name.toUpperCase()}.Example. `);
    expect(claimed.status).toBe(202);
    const { host, operation } = claimed.body;
    expect(host).toMatchObject({ kind: "custom", state: "pending", checkedAt: null, front: null });
    expect(host.host).toBe(new URL(`http://${name}.example`).hostname);
    expect(host.host).toMatch(/^xn--/);
    expect(host.records).toEqual([
      {
        type: "TXT",
        name: `_causeway.${host.host}`,
        value: expect.stringMatching(/^causeway-host=[a-z2-7]{40}$/),
      },
      { type: "CNAME", name: host.host, value: expect.stringMatching(/^host-[a-z2-7]{40}\.c-[a-z0-9]+\.localhost$/) },
    ]);
    expect(operation).toMatchObject({ kind: "host-check", tenantId: tenant.id, steps: [{ name: "check-host" }] });
    expect(claimed.headers.get("location")).toBe(`/api/v1/operations/${operation.id}`);
    expect((await listed(tenant)).map(({ host: one, kind, state }) => [one, kind, state])).toEqual([
      [`${tenant.slug}.${cluster}.localhost`, "primary", "verified"],
      [host.host, "custom", "pending"],
    ]);
    // Not the tenant's before it is proven.
    expect((await call("GET", tenant.at)).body.hosts).toEqual([`${tenant.slug}.${cluster}.localhost`]);
    expect((await claim(tenant, host.host)).body.code).toBe("conflict");
    const audit = await call("GET", `/api/v1/audit?subject=${tenant.id}`);
    expect(audit.body.items[0]).toMatchObject({ action: "tenant.claim-host", details: { host: host.host } });
  });

  test("is no address, no wildcard, and not of the platform", async () => {
    const tenant = await makeTenant();
    const other = await makeCluster();
    for (const [host, word] of [
      ["192.0.2.1", "address"],
      ["[2001:db8::1]", "address"],
      ["*.shop.example", "wildcard"],
      ["https://shop.example/", "host name"],
      ["shop", "two labels"],
      [`${cluster}.localhost`, "base domain"],
      [`${tenant.slug}.${cluster}.localhost`, "base domain"],
      [`www.${other}.localhost`, "base domain"],
    ] as const) {
      const refused = await claim(tenant, host);
      expect([refused.status, refused.body.code], host).toEqual([400, "bad-request"]);
      expect(refused.body.detail).toContain(word);
    }
    expect(await listed(tenant)).toHaveLength(1);
  });

  test("may be claimed by several tenants with a token each, but not once one of them has it", async () => {
    const [one, two, three] = [await makeTenant(), await makeTenant(), await makeTenant()];
    const domain = newHost();
    const host = `www.${domain}`;
    const tokens = [await claim(one, host), await claim(two, host)].map(({ body }) => body.host.records[0].value);
    expect(new Set(tokens).size).toBe(2);
    await prove(one, host);
    const refused = await claim(three, host);
    expect([refused.status, refused.body.code]).toEqual([409, "conflict"]);
    expect(refused.body.detail).not.toContain(one.slug);
    expect((await call("GET", one.at)).body.hosts).toContain(host);
    // Nor is a cluster made of it, or of a domain above.
    for (const base of [host, domain]) {
      const made = await call("POST", "/api/v1/clusters", {
        body: {
          name: unique("k"),
          baseDomains: [base],
          databaseBinding: "CLUSTER_DB_X",
          databaseAddress: "postgres://db.example/x",
        },
      });
      expect([made.status, made.body.detail]).toEqual([409, expect.stringContaining(host)]);
    }
  });

  test("is looked for again on demand, from the beginning where it was given up", async () => {
    const tenant = await makeTenant();
    const host = newHost();
    await claim(tenant, host);
    await admin`update control.host_claims set state = 'failed', reason = 'no record', next_check_at = null,
      state_since = '2020-01-01' where host = ${host}`;
    expect((await listed(tenant))[1]).toMatchObject({ state: "failed", reason: "no record", nextCheckAt: null });
    const again = await call("POST", `${tenant.at}/hosts/${host.toUpperCase()}/check`);
    expect(again.body).toMatchObject({ operation: { kind: "host-check" }, host: { state: "pending" } });
    expect(again.body.host.nextCheckAt).not.toBeNull();
    expect((await call("POST", `${tenant.at}/hosts/${newHost()}/check`)).status).toBe(404);
    const read = await call("POST", `${tenant.at}/hosts/${host}/check`, { as: "read" });
    expect(read.status).toBe(403);
  });

  test("is removed by an operation, and its token with it; the platform's own hosts stay", async () => {
    const tenant = await makeTenant();
    const [served, claimed] = [newHost(), newHost()];
    const first = (await claim(tenant, served)).body.host.records[0].value;
    await claim(tenant, claimed);
    await prove(tenant, served);
    await settle(tenant.id);
    const removed = await call("DELETE", `${tenant.at}/hosts/${served}`);
    expect(removed.status).toBe(202);
    expect(removed.body.operation).toMatchObject({ kind: "tenant-hosts", state: "pending" });
    expect(removed.body.tenant.hosts).not.toContain(served);
    expect((await listed(tenant)).find(({ host }) => host === served)).toMatchObject({ state: "leaving", records: [] });
    // Whoever comes next has to wait until it is gone everywhere, and the tenant itself has to prove it anew.
    expect((await claim(await makeTenant(), served)).status).toBe(409);
    expect((await claim(tenant, served)).body.host.records[0].value).not.toBe(first);
    await settle(tenant.id);

    const dropped = await call("DELETE", `${tenant.at}/hosts/${claimed}`);
    expect(dropped.body.operation.steps.map(({ name }: Item) => name)).toEqual(["settle-hosts"]);
    expect((await call("DELETE", `${tenant.at}/hosts/${claimed}`)).status).toBe(404);
    expect((await call("DELETE", `${tenant.at}/hosts/${tenant.slug}.${cluster}.localhost`)).status).toBe(400);
    expect((await call("DELETE", `${tenant.at}/hosts/${served}`, { headers: { "if-match": '"1"' } })).status).toBe(412);
  });

  test("needs a tenant that is there; there are at most 90 of them", async () => {
    const tenant = await makeTenant();
    await admin`insert into control.host_claims (tenant_id, host, token)
      select ${tenant.id}, 'h' || n || ${newHost()}, 'x' from generate_series(1, 90) n`;
    expect((await claim(tenant, newHost())).body).toMatchObject({
      code: "conflict",
      detail: expect.stringMatching(/90/),
    });
    await admin`update control.tenants set state = 'provisioning' where id = ${tenant.id}`;
    expect((await claim(tenant, newHost())).body.code).toBe("conflict");
    expect((await call("POST", "/api/v1/tenants/nobody-here/hosts", { body: { host: newHost() } })).status).toBe(404);
  });
});

describe("a change of hosts under way", () => {
  test("holds up no suspension: it is cut short, and made up for afterwards", async () => {
    const tenant = await makeTenant();
    const host = newHost();
    await claim(tenant, host);
    await prove(tenant, host);
    await settle(tenant.id);
    const removal = (await call("DELETE", `${tenant.at}/hosts/${host}`)).body.operation;
    const suspended = await call("POST", `${tenant.at}/suspend`);
    expect(suspended.status).toBe(202);
    expect((await call("GET", `/api/v1/operations/${removal.id}`)).body).toMatchObject({
      state: "failed",
      reason: "cancelled: tenant-suspend was asked for",
    });
    const open = await admin`select kind from control.operations
      where subject_id = ${tenant.id} and state = 'pending' order by seq`;
    expect(open.map(({ kind }) => kind)).toEqual(["tenant-suspend", "tenant-hosts"]);
    // A change that is refused cuts nothing short.
    expect((await call("POST", `${tenant.at}/suspend`)).status).toBe(409);
    expect(
      await admin`select 1 from control.operations where subject_id = ${tenant.id} and state = 'pending'`,
    ).toHaveLength(2);
  });

  test("that has to wait for another one withdraws its host without waiting", async () => {
    const tenant = await makeTenant();
    const host = newHost();
    await claim(tenant, host);
    await prove(tenant, host);
    await settle(tenant.id);
    await call("PUT", `${tenant.at}/routes`, { body: { items: [] } });
    await call("DELETE", `${tenant.at}/hosts/${host}`);
    const open = await admin`select kind, subject_id from control.operations
      where tenant_id = ${tenant.id} and state = 'pending' order by seq`;
    expect(open.map(({ kind, subject_id: subject }) => [kind, subject])).toEqual([
      ["tenant-routes", tenant.id],
      ["host-withdraw", `withdraw:${tenant.id}`],
      ["tenant-hosts", tenant.id],
    ]);
  });
});
