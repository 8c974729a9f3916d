import { inject } from "vitest";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { call, type Item, makeCluster, makeNode, unique } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);

const rowCounts = async () => {
  const [row] = await admin`select
    (select count(*)::int from control.tenants) as tenants, (select count(*)::int from control.workspaces) as workspaces,
    (select count(*)::int from control.hosts) as hosts, (select count(*)::int from control.routes) as routes,
    (select count(*)::int from control.services) as services, (select count(*)::int from control.operations) as operations,
    (select count(*)::int from control.outbox) as outbox, (select count(*)::int from control.audit_events) as audit`;
  return row;
};

let cluster: string;
beforeAll(async () => {
  cluster = await makeCluster();
  await makeNode(cluster, 1_000);
});

describe("creating a tenant", () => {
  test("answers 202 with the operation, writes everything at once and tells the queue (H50, H101, R09)", async () => {
    const slug = unique("acme");
    const reply = await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
    expect(reply.status).toBe(202);
    expect(reply.headers.get("location")).toBe(`/api/v1/operations/${reply.body.operation.id}`);
    expect(reply.headers.get("etag")).toBe(`"${reply.body.tenant.revision}"`);
    expect(reply.body.operation).toMatchObject({
      kind: "tenant-create",
      state: "pending",
      subjectId: reply.body.tenant.id,
    });
    expect(reply.body.tenant).toMatchObject({
      slug,
      name: `${slug}@${cluster}`,
      cluster,
      node: null,
      state: "provisioning",
      hosts: [`${slug}.${cluster}.localhost`],
    });
    const at = `/api/v1/tenants/${slug}@${cluster}`;
    expect((await call("GET", at)).body).toEqual(reply.body.tenant);
    expect((await call("GET", `${at}/workspaces`)).body.items).toMatchObject([{ name: "default", isDefault: true }]);
    expect((await call("GET", `${at}/hosts`)).body.items).toMatchObject([{ kind: "primary" }]);
    expect((await call("GET", `${at}/services`)).body.items).toMatchObject([
      { name: "app", workspace: "default", status: "CREATED" },
    ]);
    expect((await call("GET", `${at}/routes`)).body.items).toEqual([
      { prefix: "/app", access: "public", to: { kind: "service", service: "app" } },
      { prefix: "/private", access: "member", to: { kind: "service", service: "app" } },
    ]);
    await vi.waitFor(
      async () => {
        const [row] = await admin`select sent_at from control.outbox where operation_id = ${reply.body.operation.id}`;
        expect(row?.["sent_at"]).not.toBeNull();
      },
      { timeout: 10_000, interval: 25 },
    );
    const trail = await call("GET", `/api/v1/audit?tenant=${slug}@${cluster}`);
    expect(trail.body.items).toMatchObject([
      { action: "tenant.create", requestId: reply.headers.get("causeway-request-id"), details: { slug, cluster } },
    ]);
  });

  test("takes routes of its own, to services and to targets", async () => {
    const slug = unique("plant");
    const routes = [
      { prefix: "/plant", access: "member", to: { kind: "target", target: "demo" } },
      { prefix: "/app", access: "member", to: { kind: "service", service: "app" } },
    ];
    expect((await call("POST", "/api/v1/tenants", { body: { slug, cluster, routes } })).status).toBe(202);
    const listed = await call("GET", `/api/v1/tenants/${slug}@${cluster}/routes`);
    expect(listed.body.items.map(({ prefix, access }: Item) => [prefix, access])).toEqual([
      ["/app", "member"],
      ["/plant", "member"],
      ["/private", "member"],
    ]);
  });

  test("of twenty requests for one name at once, one wins (H55)", async () => {
    const slug = unique("race");
    const replies = await Promise.all(
      Array.from({ length: 20 }, () => call("POST", "/api/v1/tenants", { body: { slug, cluster } })),
    );
    expect(replies.filter(({ status }) => status === 202)).toHaveLength(1);
    expect(replies.filter(({ status, body }) => status === 409 && body.code === "conflict")).toHaveLength(19);
  });

  test("the same name in another cluster is another tenant (D12, G03)", async () => {
    const other = await makeCluster();
    await makeNode(other, 1);
    const slug = unique("twin");
    const one = await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
    const two = await call("POST", "/api/v1/tenants", { body: { slug, cluster: other } });
    expect([one.status, two.status]).toEqual([202, 202]);
    expect(one.body.tenant.id).not.toBe(two.body.tenant.id);
    expect((await call("GET", `/api/v1/tenants/${slug}@${other}`)).body.id).toBe(two.body.tenant.id);
  });
});

describe("a bad request for a tenant says what is wrong and leaves nothing (H54, H55, D7)", () => {
  test.each([
    ["malformed: upper case", { slug: "Acme" }, 400, "bad-request", /lower-case/],
    ["malformed: too short", { slug: "ab" }, 400, "bad-request", /too short/],
    ["malformed: double hyphen", { slug: "a--b" }, 400, "bad-request", /hyphens/],
    ["malformed: not a name at all", { slug: '"; drop schema control; --' }, 400, "bad-request", /./],
    ["reserved", { slug: "admin" }, 400, "bad-request", /reserved/],
    ["unknown cluster", { cluster: "nowhere" }, 400, "bad-request", /no cluster "nowhere"/],
    ["unknown node", { node: "nowhere" }, 400, "bad-request", /no active node "nowhere"/],
    ["unknown service", { services: ["nothing"] }, 400, "bad-request", /no service "nothing"/],
    [
      "route to a service that it does not have",
      { routes: [{ prefix: "/x", to: { kind: "service", service: "nothing" } }] },
      400,
      "bad-request",
      /no service "nothing"/,
    ],
    [
      "route with dot segments",
      { routes: [{ prefix: "/a/../b", to: { kind: "target", target: "x" } }] },
      400,
      "bad-request",
      /dot/,
    ],
    ["unknown field", { colour: "blue" }, 400, "bad-request", /colour|[Uu]nrecognized/],
  ])("%s", async (_, over, status, code, detail) => {
    const before = await rowCounts();
    const reply = await call("POST", "/api/v1/tenants", { body: { slug: unique("bad"), cluster, ...over } });
    expect([reply.status, reply.body.code]).toEqual([status, code]);
    expect(reply.body.detail).toMatch(detail);
    expect(reply.headers.get("causeway-error")).toBe(code);
    expect(reply.headers.get("content-type")).toBe("application/problem+json");
    expect(await rowCounts()).toEqual(before);
  });

  test("names of nodes and clusters are reserved, and a node gets no tenant's name", async () => {
    const node = await makeNode(cluster, 0);
    expect((await call("POST", "/api/v1/tenants", { body: { slug: node, cluster } })).body).toMatchObject({
      code: "bad-request",
      detail: expect.stringContaining("reserved"),
    });
    expect((await call("POST", "/api/v1/tenants", { body: { slug: cluster, cluster } })).body.code).toBe("bad-request");
    const slug = unique("acme");
    await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
    const reply = await call("POST", "/api/v1/nodes", {
      body: { name: slug, cluster, envoyUrl: "https://n.example", capacity: 1 },
    });
    expect(reply.body).toMatchObject({ status: 409, code: "conflict" });
  });

  test("a node asked for by name that was never enrolled", async () => {
    const own = await makeCluster();
    const node = await makeNode(own, 1);
    const before = await rowCounts();
    const create = () => call("POST", "/api/v1/tenants", { body: { slug: "first", cluster: own, node } });
    expect((await create()).body).toMatchObject({
      status: 409,
      code: "conflict",
      detail: expect.stringContaining("never been enrolled"),
    });
    expect(await rowCounts()).toEqual(before);
    await admin`update control.nodes set enrolled_at = now() where name = ${node}`;
    expect((await create()).status).toBe(202);
  });

  test("no node registered, and no room left, also when many come at once", async () => {
    const empty = await makeCluster();
    const before = await rowCounts();
    const none = await call("POST", "/api/v1/tenants", { body: { slug: "first", cluster: empty } });
    expect(none.body).toMatchObject({
      status: 409,
      code: "no-capacity",
      detail: expect.stringContaining("no active node"),
    });
    expect(await rowCounts()).toEqual(before);
    const node = await makeNode(empty, 3);
    const replies = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        call("POST", "/api/v1/tenants", { body: { slug: `t-${n}`, cluster: empty } }),
      ),
    );
    expect(replies.filter(({ status }) => status === 202)).toHaveLength(3);
    for (const { body } of replies.filter(({ status }) => status !== 202)) expect(body.code).toBe("no-capacity");
    const full = await call("POST", "/api/v1/tenants", { body: { slug: "late", cluster: empty, node } });
    expect(full.body).toMatchObject({ code: "no-capacity" });
  });
});

describe("reading and changing", () => {
  test("pages, search and filters give every tenant once (P20)", async () => {
    const own = await makeCluster();
    await makeNode(own, 100);
    const slugs = Array.from({ length: 7 }, (_, n) => `list-${n}`);
    for (const slug of slugs) await call("POST", "/api/v1/tenants", { body: { slug, cluster: own } });
    const seen: string[] = [];
    let cursor: string | null = "";
    let pages = 0;
    while (cursor !== null) {
      const reply: Awaited<ReturnType<typeof call>> = await call(
        "GET",
        `/api/v1/tenants?cluster=${own}&limit=3${cursor === "" ? "" : `&cursor=${cursor}`}`,
      );
      seen.push(...reply.body.items.map(({ slug }: Item) => slug));
      cursor = reply.body.nextCursor;
      pages += 1;
    }
    expect([seen, pages]).toEqual([slugs, 3]);
    const found = await call("GET", `/api/v1/tenants?cluster=${own}&q=t-4`);
    expect(found.body.items.map(({ slug }: Item) => slug)).toEqual(["list-4"]);
    expect((await call("GET", `/api/v1/tenants?cluster=${own}&state=active`)).body.items).toEqual([]);
    expect((await call("GET", "/api/v1/tenants?limit=0")).status).toBe(400);
    expect((await call("GET", "/api/v1/tenants?limit=1000")).status).toBe(400);
    expect((await call("GET", "/api/v1/tenants?cursor=%%%")).status).toBe(400);
    expect((await call("GET", `/api/v1/tenants?q=${encodeURIComponent("%' or 1=1 --")}`)).body.items).toEqual([]);
  });

  test("a change needs the version that was read, if it names one (P20)", async () => {
    const slug = unique("etag");
    await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
    const at = `/api/v1/tenants/${slug}@${cluster}`;
    const etag = (await call("GET", at)).headers.get("etag") ?? "";
    const change = (multipleWorkspaces: boolean, headers: Record<string, string>) =>
      call("PATCH", at, { body: { multipleWorkspaces }, headers });
    expect((await change(true, { "if-match": '"1"' })).body).toMatchObject({
      status: 412,
      code: "precondition-failed",
    });
    const changed = await change(true, { "if-match": etag });
    expect(changed.status).toBe(200);
    expect(changed.headers.get("etag")).not.toBe(etag);
    expect((await change(false, { "if-match": etag })).status).toBe(412);
    expect((await change(false, {})).status).toBe(200);
  });

  test("a second workspace only where that is enabled (H101)", async () => {
    const slug = unique("spaces");
    await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
    const at = `/api/v1/tenants/${slug}@${cluster}`;
    const add = (name: string) => call("POST", `${at}/workspaces`, { body: { name } });
    expect((await add("second")).body).toMatchObject({ status: 409, code: "conflict" });
    await call("PATCH", at, { body: { multipleWorkspaces: true } });
    expect((await add("second")).status).toBe(201);
    expect((await add("second")).status).toBe(409);
    const { items } = (await call("GET", `${at}/workspaces`)).body;
    expect(items.map(({ name, isDefault }: Item) => [name, isDefault])).toEqual([
      ["default", true],
      ["second", false],
    ]);
    await expect(
      admin`insert into control.workspaces (id, tenant_id, name, is_default)
        select 'wks_x', tenant_id, 'other', true from control.workspaces where name = 'second' limit 1`,
    ).rejects.toMatchObject({ code: "23505" });
  });

  test("members are made by the portal; its failure is told, and no password is kept", async () => {
    const slug = unique("people");
    await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
    const add = (email: string) =>
      call("POST", `/api/v1/tenants/${slug}@${cluster}/members`, {
        body: { email, password: "correct horse battery", role: "owner" },
        headers: { "idempotency-key": `members-${email}` },
      });
    expect((await add("walter@example.com")).body).toEqual({
      accountId: "account-of-walter@example.com",
      created: true,
    });
    expect((await add("broken@example.com")).body).toMatchObject({ status: 503, code: "not-available" });
    await admin`update control.tenants set state = 'deleting' where slug = ${slug}`;
    expect((await add("late@example.com")).body).toMatchObject({ status: 409, code: "conflict" });
    const [kept] =
      await admin`select (select string_agg(details::text, '') from control.audit_events) || (select string_agg(request_mac || coalesce(sealed_answer, ''), '') from control.idempotency_keys) as text`;
    expect(kept?.["text"]).not.toContain("correct horse");
  });
});
