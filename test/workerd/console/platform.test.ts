import { inject } from "vitest";
import { describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { call, makeCluster, makeNode, unique } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);
/** Stands for the provisioner. */
const settle = (subjectId: string) =>
  admin`update control.operations set state = 'succeeded' where subject_id = ${subjectId} and state = 'pending'`;

describe("a maintenance notice", () => {
  test.each([
    ["the platform", async () => ({ at: "/api/v1/maintenance", subject: "maintenance:*" })],
    [
      "a cluster",
      async () => {
        const cluster = await makeCluster();
        return { at: `/api/v1/clusters/${cluster}/maintenance`, subject: `maintenance:${cluster}` };
      },
    ],
  ])("of %s is set, shown and ended by who may, each an operation on record", async (_, of) => {
    const { at, subject } = await of();
    expect((await call("GET", at)).body).toEqual({ maintenance: null });
    expect((await call("PUT", at, { as: "read", body: {} })).status).toBe(403);
    expect((await call("PUT", at, { body: { message: "" } })).status).toBe(400);
    expect((await call("PUT", at, { body: { allow: ["everybody"] } })).status).toBe(400);
    const begun = await call("PUT", at, { body: { message: "Back at noon.", allow: ["192.0.2.0/24"] } });
    expect([begun.status, begun.headers.get("location")]).toEqual([
      202,
      `/api/v1/operations/${begun.body.operation.id}`,
    ]);
    expect(begun.body).toMatchObject({
      operation: { kind: "maintenance-publish", steps: [{ name: "publish-maintenance" }, { name: "fill-masters" }] },
      maintenance: { message: "Back at noon.", retryAfterSeconds: 300 },
    });
    expect((await call("GET", at, { as: "read" })).body.maintenance.message).toBe("Back at noon.");
    const [before] = await admin`select revision from control.maintenance_notices where scope = ${subject.slice(12)}`;
    expect((await call("DELETE", at)).status).toBe(202);
    const [after] = await admin`select revision from control.maintenance_notices where scope = ${subject.slice(12)}`;
    expect(Number(after?.["revision"])).toBeGreaterThan(Number(before?.["revision"]));
    expect((await call("GET", at)).body).toEqual({ maintenance: null });
    const { items } = (await call("GET", `/api/v1/audit?subject=${encodeURIComponent(subject)}`)).body;
    expect(items.map(({ action }: { action: string }) => action).toSorted()).toEqual([
      "maintenance.begin",
      "maintenance.end",
    ]);
    await settle(subject);
  });

  test("wants a cluster that there is", async () => {
    expect((await call("PUT", "/api/v1/clusters/nowhere/maintenance", { body: {} })).status).toBe(404);
  });
});

describe("a cluster's base domains", () => {
  const ofCluster = (name: string) => `/api/v1/clusters/${name}`;
  const patch = (name: string, baseDomains: unknown, as = "admin") =>
    call("PATCH", ofCluster(name), { as, body: { baseDomains } });

  test("are replaced by who may, as an operation; one at a time", async () => {
    const cluster = await makeCluster();
    const domains = [`${cluster}.localhost`, `${cluster}.example.com`];
    expect((await patch(cluster, domains, "read")).status).toBe(403);
    for (const wrong of [[], ["Not A Domain"], [domains[0], domains[0]]])
      expect((await patch(cluster, wrong)).status).toBe(400);
    const changed = await patch(cluster, domains);
    expect(changed.body).toMatchObject({
      operation: { kind: "cluster-domains", steps: [{ name: "settle-domains" }] },
      cluster: { baseDomains: domains },
    });
    expect([changed.status, (await call("GET", ofCluster(cluster))).body.baseDomains]).toEqual([202, domains]);
    expect((await patch(cluster, [domains[1]])).body.code).toBe("conflict");
    await settle(changed.body.cluster.id);
    expect((await patch(cluster, [domains[1]])).status).toBe(202);
    expect((await patch("nowhere", domains)).status).toBe(404);
  });

  test("are nobody else's: another cluster's, one with a tenant's custom host in it, one that a tenant's name would make of it", async () => {
    const [cluster, other] = [await makeCluster(), await makeCluster()];
    await makeNode(cluster, 10);
    const slug = unique("acme");
    const { body } = await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
    expect((await patch(cluster, [`${other}.localhost`])).body.detail).toContain(`"${other}"`);
    const custom = `www.${cluster}.example.org`;
    await admin`insert into control.hosts (host, tenant_id, kind) values (${custom}, ${body.tenant.id}, 'custom')`;
    expect((await patch(other, [`${cluster}.example.org`])).body.detail).toContain(custom);
    expect((await patch(other, [`${slug}.${cluster}.localhost`])).body.detail).toContain(slug);
    await admin`update control.clusters set base_domains = array[${`${slug}.shared.example`}] where name = ${other}`;
    expect((await patch(cluster, ["shared.example"])).body.detail).toContain(slug);
  });
});

describe("a node", () => {
  const at = (name: string) => `/api/v1/nodes/${name}`;
  const change = (name: string, body: unknown, options: { as?: string; headers?: Record<string, string> } = {}) =>
    call("PATCH", at(name), { body, ...options });

  test("is given room, labels and an address for masters by who may, on record; what is not named stays", async () => {
    const name = await makeNode(await makeCluster(), 3);
    const [row] = await admin`select id, revision from control.nodes where name = ${name}`;
    const id = String(row?.["id"]);
    await settle(id);
    expect((await change(name, { capacity: 5 }, { as: "read" })).status).toBe(403);
    const wrong = [{}, { capacity: -1 }, { labels: { a: 1 } }, { mastersAddress: "n1" }, { mastersAddress: "n1:0" }];
    for (const body of [...wrong, { cluster: "x" }]) expect((await change(name, body)).status).toBe(400);
    expect((await change("nowhere-at-all", { capacity: 5 })).status).toBe(404);
    const stale = { headers: { "if-match": `"${Number(row?.["revision"]) - 1}"` } };
    expect((await change(name, { capacity: 5 }, stale)).status).toBe(412);

    const changed = await change(name, { capacity: 5, labels: { zone: "a" } });
    expect(changed).toMatchObject({
      status: 202,
      // No master has to know.
      body: {
        operation: { kind: "node-publish", steps: [{ name: "publish-node" }] },
        node: { name, capacity: 5, labels: { zone: "a" }, mastersAddress: null },
      },
    });
    await settle(id);
    const reached = await change(name, { mastersAddress: "n1.internal:10443" });
    expect(reached.body).toMatchObject({
      operation: { kind: "node-publish", steps: [{ name: "publish-node" }, { name: "fill-masters" }] },
      node: { capacity: 5, labels: { zone: "a" }, mastersAddress: "n1.internal:10443" },
    });
    await settle(id);
    const none = await change(name, { mastersAddress: null, labels: {} });
    expect(none.body.node).toMatchObject({ mastersAddress: null, labels: {} });
    await settle(id);
    const { items } = (await call("GET", `/api/v1/audit?subject=${id}&action=node.change`)).body;
    expect(items.map(({ details }: { details: unknown }) => details)).toEqual([
      { name, mastersAddress: null, labels: {} },
      { name, mastersAddress: "n1.internal:10443" },
      { name, capacity: 5, labels: { zone: "a" } },
    ]);
  });

  test("that is a master has labels only", async () => {
    const cluster = await makeCluster();
    const name = unique("master");
    const made = await call("POST", "/api/v1/nodes", {
      body: { name, cluster, role: "master", envoyUrl: "http://127.0.0.1:1" },
    });
    expect(made.status).toBe(202);
    await settle(made.body.node.id);
    expect((await change(name, { capacity: 5 })).body.code).toBe("conflict");
    expect((await change(name, { mastersAddress: "m:1" })).body.code).toBe("conflict");
    expect((await change(name, { labels: { zone: "b" } })).body.node.labels).toEqual({ zone: "b" });
  });
});
