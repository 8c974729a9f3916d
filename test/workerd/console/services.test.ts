import { inject } from "vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { call, type Item, makeCluster, makeNode, unique } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);
let cluster: string;
beforeAll(async () => {
  cluster = await makeCluster();
  await makeNode(cluster, 1_000);
});

const catalogue = (service: string): string => `/api/v1/clusters/${cluster}/services/${service}`;
const app = { driver: { kind: "process", command: "demo-service" }, healthPath: "/healthz" };
const put = (service: string, body: unknown) => call("PUT", catalogue(service), { body });

/** A tenant whose creation has succeeded. */
async function makeTenant(): Promise<{ id: string; at: string }> {
  const slug = unique("acme");
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug, cluster, services: [] } });
  await admin`update control.tenants set state = 'active' where id = ${body.tenant.id}`;
  await settle(body.tenant.id);
  return { id: body.tenant.id, at: `/api/v1/tenants/${slug}@${cluster}` };
}
const settle = (tenantId: string) =>
  admin`update control.operations set state = 'succeeded' where subject_id = ${tenantId} and state = 'pending'`;
const listed = async (at: string) => (await call("GET", `${at}/services`)).body.items;
const prefixes = async (at: string) => (await call("GET", `${at}/routes`)).body.items.map(({ prefix }: Item) => prefix);

describe("a cluster's catalogue", () => {
  test("is written by operators, entry by entry, and names only what nodes know", async () => {
    expect((await put("web", { ...app, routes: [{ prefix: "/web" }] })).body).toEqual({
      name: "web",
      ...app,
      protocol: "http",
      needsSchema: false,
      isDefault: false,
      routes: [{ prefix: "/web", access: "public" }],
    });
    expect((await put("web", { driver: { kind: "docker", image: "web" }, isDefault: true })).status).toBe(200);
    const { items } = (await call("GET", `/api/v1/clusters/${cluster}/services`)).body;
    expect(items.find(({ name }: Item) => name === "web")).toMatchObject({
      driver: { kind: "docker", image: "web" },
      routes: [],
      isDefault: true,
    });
    const grpc = { ...app, protocol: "h2c", healthPath: "/grpc.health.v1.Health/Check", routes: [{ prefix: "/a.B" }] };
    expect(await put("grpc", grpc)).toMatchObject({ status: 200, body: { protocol: "h2c" } });
    expect((await call("DELETE", catalogue("web"))).status).toBe(200);
    expect((await call("DELETE", catalogue("web"))).status).toBe(404);
  });

  test.each([
    ["a name with blanks", "a b", app],
    ["no driver", "web", {}],
    ["a path instead of a name", "web", { driver: { kind: "process", argv: ["/bin/sh"] } }],
    ["a broker with routes", "broker", { ...app, healthPath: null, protocol: "mqtt", routes: [{ prefix: "/" }] }],
    ["a platform's prefix", "web", { ...app, routes: [{ prefix: "/.causeway" }] }],
  ])("refuses %s", async (_what, name, body) => {
    expect((await put(encodeURIComponent(name), body)).body.code).toBe("bad-request");
  });

  test("is an admin's business", async () => {
    expect((await call("PUT", catalogue("web"), { body: app, as: "read" })).status).toBe(403);
  });
});

describe("a tenant's services", () => {
  test("are added with the routes of the catalogue, renewed, switched off and on, and taken away (H105)", async () => {
    await put("shop", { ...app, routes: [{ prefix: "/shop" }, { prefix: "/api", access: "member" }] });
    const { id, at } = await makeTenant();
    const added = await call("PUT", `${at}/services/shop`, { body: {} });
    expect(added).toMatchObject({
      status: 202,
      body: {
        operation: {
          kind: "tenant-services",
          steps: [{ name: "push" }, { name: "publish" }, { name: "settle-services" }],
        },
      },
    });
    expect(await prefixes(at)).toEqual(["/api", "/shop"]);
    expect((await call("PUT", `${at}/services/shop`, { body: {} })).body.code).toBe("conflict");
    await settle(id);

    await put("shop", { driver: { kind: "docker", image: "shop" }, routes: [{ prefix: "/new" }] });
    await call("PUT", `${at}/services/shop`, { body: {} });
    await settle(id);
    expect(await listed(at)).toMatchObject([{ name: "shop", driver: "docker", stopped: false }]);
    expect(await prefixes(at)).toEqual(["/api", "/shop"]);

    expect((await call("POST", `${at}/services/shop/stop`)).status).toBe(202);
    await settle(id);
    expect(await listed(at)).toMatchObject([{ name: "shop", stopped: true }]);
    expect((await call("POST", `${at}/services/shop/start`)).status).toBe(202);
    await settle(id);
    expect(await listed(at)).toMatchObject([{ name: "shop", stopped: false }]);

    const refused = await call("DELETE", `${at}/services/shop`);
    expect([refused.status, refused.body.detail]).toEqual([409, expect.stringContaining("/api, /shop")]);
    await call("PUT", `${at}/routes`, { body: { items: [] } });
    await settle(id);
    expect((await call("DELETE", `${at}/services/shop`)).status).toBe(202);
    await settle(id);
    expect(await listed(at)).toEqual([]);
    for (const [method, path] of [
      ["PUT", "nothing"],
      ["DELETE", "shop"],
      ["POST", "shop/stop"],
    ] as const)
      expect((await call(method, `${at}/services/${path}`, { body: {} })).status).toBe(404);
    const trail = (await call("GET", `/api/v1/audit?subject=${id}`)).body.items;
    expect(trail.map(({ details }: Item) => details.change).filter(Boolean)).toEqual([
      "remove",
      "start",
      "stop",
      "renew",
      "add",
    ]);
  });

  test("have one broker at most", async () => {
    const broker = { driver: { kind: "process", command: "broker" }, protocol: "mqtt" };
    await put("broker", broker);
    await put("another", broker);
    const { id, at } = await makeTenant();
    await call("PUT", `${at}/services/broker`, { body: {} });
    await settle(id);
    const refused = await call("PUT", `${at}/services/another`, { body: {} });
    expect([refused.status, refused.body.detail]).toEqual([409, expect.stringContaining('broker "broker"')]);
    expect(await listed(at)).toMatchObject([{ name: "broker", protocol: "mqtt" }]);
  });
});
