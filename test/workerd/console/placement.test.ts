import { inject } from "vitest";
import { describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { call, type Item, makeCluster, makeNode, unique } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);

/** A cluster with these nodes and a tenant at work on the first. */
async function placed(...capacities: number[]) {
  const cluster = await makeCluster();
  const nodes: string[] = [];
  for (const capacity of capacities) nodes.push(await makeNode(cluster, capacity));
  await admin`update control.nodes set enrolled_at = now() where name in ${admin(nodes)}`;
  const [first = ""] = nodes;
  const slug = unique("acme");
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug, cluster, services: [], node: first } });
  const id: string = body.tenant.id;
  await admin`update control.tenants set state = 'active',
    node_id = (select id from control.nodes where name = ${first}) where id = ${id}`;
  await settle(id);
  return { cluster, nodes, id, at: `/api/v1/tenants/${slug}@${cluster}` };
}
const settle = (subject: string) =>
  admin`update control.operations set state = 'succeeded' where subject_id = ${subject} and state = 'pending'`;

describe("a tenant", () => {
  test("is moved to the node asked for, or to any other with room (D3)", async () => {
    const { id, at, nodes } = await placed(5, 5);
    const named = await call("POST", `${at}/move`, { body: { node: nodes[1], drainSeconds: 7 } });
    expect(named).toMatchObject({
      status: 202,
      body: {
        operation: {
          kind: "tenant-move",
          steps: [
            { name: "leave-node" },
            { name: "choose-next-node" },
            { name: "push-next" },
            { name: "switch-node" },
            { name: "publish" },
            { name: "drain-old-node" },
            { name: "leave-node" },
          ],
          drain: null,
        },
        tenant: { node: nodes[0] },
      },
    });
    const [row] = await admin`select work from control.operations where id = ${named.body.operation.id}`;
    expect(row?.["work"]).toMatchObject({ drainMs: 7_000, toNodeId: expect.stringMatching(/^nod_/) });
    expect((await call("POST", `${at}/move`, { body: {} })).body.code).toBe("conflict");
    await settle(id);
    expect((await call("POST", `${at}/move`, { body: {} })).status).toBe(202);
  });

  test("stays where it is when that can't be", async () => {
    const { at, nodes } = await placed(5, 0);
    const [here, full] = nodes;
    const refused = async (body: unknown) => (await call("POST", `${at}/move`, { body })).body.code;
    expect(await refused({ node: here })).toBe("conflict");
    expect(await refused({ node: full })).toBe("no-capacity");
    expect(await refused({})).toBe("no-capacity");
    expect(await refused({ node: "nowhere" })).toBe("bad-request");
    expect(await refused({ drainSeconds: -1 })).toBe("bad-request");
    expect((await call("POST", `${at}/move`, { body: {}, as: "read" })).status).toBe(403);
    expect((await call("POST", "/api/v1/tenants/nobody/move", { body: {} })).status).toBe(404);
  });

  test("gets onto a dedicated node by name only, and its operator sees it there (G50)", async () => {
    const { cluster, at, nodes } = await placed(5, 5);
    const [, dedicated = ""] = nodes;
    await admin`update control.nodes set labels = '{"dedicated":"true"}' where name = ${dedicated}`;
    expect((await call("POST", `${at}/move`, { body: {} })).body.code).toBe("no-capacity");
    expect((await call("POST", `${at}/move`, { body: { node: dedicated } })).status).toBe(202);
    const slug = unique("big");
    const created = await call("POST", "/api/v1/tenants", { body: { slug, cluster, services: [], node: dedicated } });
    expect(created.status).toBe(202);
    const shown = (await call("GET", "/api/v1/nodes?limit=200")).body.items.find(
      ({ name }: Item) => name === dedicated,
    );
    expect(shown).toMatchObject({ labels: { dedicated: "true" }, state: "active" });
  });
});

describe("a node", () => {
  test("is drained once at a time, takes no new tenants meanwhile, and is made active again", async () => {
    const { cluster, nodes } = await placed(5, 5);
    const [first = "", second = ""] = nodes;
    const drained = await call("POST", `/api/v1/nodes/${first}/drain`, { body: { drainSeconds: 3 } });
    expect(drained).toMatchObject({
      status: 202,
      body: {
        operation: { kind: "node-drain", steps: [{ name: "drain-node" }] },
        node: { state: "draining", tenants: 1 },
      },
    });
    expect((await call("POST", `/api/v1/nodes/${first}/drain`, { body: {} })).body.code).toBe("conflict");
    const late = { slug: unique("late"), cluster, services: [], node: first };
    expect((await call("POST", "/api/v1/tenants", { body: late })).body.code).toBe("bad-request");

    const active = await call("POST", `/api/v1/nodes/${first}/activate`);
    expect(active).toMatchObject({ status: 200, body: { name: first, state: "active" } });
    const ended = (await call("GET", `/api/v1/operations/${drained.body.operation.id}`)).body;
    expect(ended).toMatchObject({ state: "failed", reason: expect.stringContaining("made active again") });
    expect((await call("POST", "/api/v1/tenants", { body: late })).status).toBe(202);
    await admin`update control.nodes set state = 'disabled' where name = ${second}`;
    for (const verb of ["drain", "activate"])
      expect((await call("POST", `/api/v1/nodes/${second}/${verb}`, { body: {} })).body.code).toBe("conflict");
    expect((await call("POST", "/api/v1/nodes/nowhere/drain", { body: {} })).status).toBe(404);
  });

  test("is not drained where the others have no room, nor by whom may not", async () => {
    const { nodes } = await placed(5, 0);
    const at = `/api/v1/nodes/${nodes[0]}`;
    const refused = await call("POST", `${at}/drain`, { body: {} });
    expect([refused.body.code, refused.body.detail]).toEqual(["no-capacity", expect.stringContaining("0 places left")]);
    expect((await call("GET", at)).body.state).toBe("active");
    expect((await call("POST", `${at}/drain`, { body: {}, as: "read" })).status).toBe(403);
  });

  test("is removed once nothing is there, comes or leaves; history stays, its name is free", async () => {
    const { cluster, nodes, id, at } = await placed(5, 5);
    const [first = "", second = ""] = nodes;
    const idOf = async (name: string) =>
      String((await admin`select id from control.nodes where name = ${name}`)[0]?.["id"]);
    const [firstId, secondId] = [await idOf(first), await idOf(second)];
    const remove = (name: string, options: Parameters<typeof call>[2] = {}) =>
      call("DELETE", `/api/v1/nodes/${name}`, options);
    const refused = async (name: string) => {
      const { status, body } = await remove(name);
      return `${status} ${body.code} ${body.detail}`;
    };
    expect((await remove(second, { as: "read" })).status).toBe(403);
    expect((await remove("nowhere-at-all")).status).toBe(404);
    // Its registration has not been told to its channel yet.
    expect(await refused(second)).toMatch(/409 conflict .*node-publish/);
    await settle(firstId);
    await settle(secondId);
    expect(await refused(first)).toMatch(/409 conflict .* is not empty .* leaving: 1.*causeway nodes drain/);
    for (const column of ["next_node_id", "leaving_node_id"]) {
      await admin`update control.tenants set ${admin(column)} = ${secondId} where id = ${id}`;
      expect(await refused(second), column).toMatch(/409 conflict .* is not empty/);
      await admin`update control.tenants set ${admin(column)} = null where id = ${id}`;
    }
    const wished = { slug: unique("wish"), cluster, services: [], node: second };
    const wisher: string = (await call("POST", "/api/v1/tenants", { body: wished })).body.tenant.id;
    expect(await refused(second)).toMatch(/409 conflict .* is not empty/);
    // A wish that was granted elsewhere is one no more.
    await admin`update control.tenants set node_id = ${firstId} where id = ${wisher}`;
    const move = await call("POST", `${at}/move`, { body: { node: second } });
    expect(move.status).toBe(202);
    expect(await refused(second)).toMatch(/409 conflict .*tenant-move/);
    await settle(id);
    expect((await remove(second, { headers: { "if-match": '"1"' } })).status).toBe(412);

    const [row] = await admin`select revision from control.nodes where id = ${secondId}`;
    const removed = await remove(second);
    expect(removed).toMatchObject({
      status: 202,
      body: {
        operation: { kind: "node-remove", subjectId: secondId, steps: [{ name: "remove-node" }] },
        node: { name: second, tenants: 0 },
      },
    });
    const [operation] = await admin`select work from control.operations where id = ${removed.body.operation.id}`;
    expect(operation?.["work"]).toEqual({ removedNode: second, revision: expect.any(Number) });
    expect(operation?.["work"].revision).toBeGreaterThan(Number(row?.["revision"]));
    expect((await remove(second)).status).toBe(404);
    expect((await call("GET", `/api/v1/nodes/${second}`)).status).toBe(404);
    const { items } = (await call("GET", `/api/v1/audit?subject=${secondId}`)).body;
    expect(items.map(({ action }: Item) => action)).toEqual(["node.delete", "node.create"]);
    const again = { name: second, cluster, envoyUrl: "http://127.0.0.1:10000", capacity: 1 };
    expect((await call("POST", "/api/v1/nodes", { body: again })).body.node.id).not.toBe(secondId);
  });
});
