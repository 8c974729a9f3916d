import { createExecutionContext } from "cloudflare:test";
import { inject } from "vitest";
import { describe, expect, test } from "vitest";
import { createConsole } from "../../../src/console/app.ts";
import { encodeCursor } from "../../../src/console/paging.ts";
import { insertApiToken } from "../../../src/db/api-tokens.ts";
import { connect } from "../../../src/db/client.ts";
import { apiTokens } from "../../../src/db/schema.ts";
import { createLogger } from "../../../src/shared/log.ts";
import { eq } from "drizzle-orm";
import { type Item, call, noMembers, makeCluster, unique } from "./api.ts";

const { db, sql: admin } = connect(inject("database").adminUrl, 2);

describe("tokens", () => {
  test.each([
    ["none", null, 401, "unauthorized"],
    ["not a token", "x", 401, "unauthorized"],
    ["an unknown one", "cwt_0123456789abcdefghij", 401, "unauthorized"],
    ["one for reading", "read", 403, "forbidden"],
  ])("%s can't write", async (_, as, status, code) => {
    const reply = await call("POST", "/api/v1/tenants", { as, body: { slug: "acme" } });
    expect([reply.status, reply.body.code, reply.headers.get("causeway-error")]).toEqual([status, code, code]);
    if (status === 401) expect(reply.headers.get("www-authenticate")).toContain("Bearer");
  });

  test("scopes include the smaller ones; clusters and nodes need admin", async () => {
    const write = await insertApiToken(db, { name: "writer", scopes: ["write"] });
    expect((await call("GET", "/api/v1/tenants", { as: write })).status).toBe(200);
    expect((await call("GET", "/api/v1/tenants", { as: "read" })).status).toBe(200);
    const node = { name: unique("n"), envoyUrl: "https://node.example", capacity: 1 };
    expect((await call("POST", "/api/v1/nodes", { as: write, body: node })).status).toBe(403);
    expect((await call("POST", "/api/v1/clusters", { as: write, body: {} })).status).toBe(403);
  });

  test("an expired or revoked one is worth nothing", async () => {
    const expired = await insertApiToken(db, { name: "old", scopes: ["admin"], expiresAt: new Date(1) });
    expect((await call("GET", "/api/v1/tenants", { as: expired })).status).toBe(401);
    const revoked = await insertApiToken(db, { name: "gone", scopes: ["admin"] });
    expect((await call("GET", "/api/v1/tenants", { as: revoked })).status).toBe(200);
    await db.update(apiTokens).set({ revokedAt: new Date() }).where(eq(apiTokens.name, "gone"));
    expect((await call("GET", "/api/v1/tenants", { as: revoked })).status).toBe(401);
  });

  test("are listed and revoked by an admin, who is on record; neither shows the token or its hash (Q05)", async () => {
    const name = unique("leaked");
    const leaked = await insertApiToken(db, { name, scopes: ["write"] });
    const found = async (): Promise<Item> => {
      const { items } = (await call("GET", `/api/v1/tokens?q=${name}`)).body;
      return items[0];
    };
    const { id } = await found();
    expect(await found()).toEqual({
      id,
      name,
      scopes: ["write"],
      expiresAt: null,
      revokedAt: null,
      createdAt: expect.any(String),
    });
    expect((await call("GET", "/api/v1/tokens", { as: leaked })).status).toBe(403);
    expect((await call("DELETE", `/api/v1/tokens/${id}`, { as: leaked })).status).toBe(403);
    expect((await call("GET", "/api/v1/tenants", { as: leaked })).status).toBe(200);
    const revoked = await call("DELETE", `/api/v1/tokens/${id}`);
    expect(revoked.body).toMatchObject({ id, revokedAt: expect.any(String) });
    expect((await call("GET", "/api/v1/tenants", { as: leaked })).status).toBe(401);
    // A second time changes nothing, and the first time stays.
    expect((await call("DELETE", `/api/v1/tokens/${id}`)).body).toEqual(revoked.body);
    expect(await found()).toEqual(revoked.body);
    expect((await call("DELETE", "/api/v1/tokens/tok_nothing")).status).toBe(404);
    const { items } = (await call("GET", `/api/v1/audit?subject=${id}`)).body;
    expect(items[0]).toMatchObject({ action: "token.revoke", details: { name } });
  });

  test("only their hash is stored (Q05)", async () => {
    const token = await insertApiToken(db, { name: "hashed", scopes: ["read"] });
    const rows = await db.select().from(apiTokens);
    expect(JSON.stringify(rows)).not.toContain(token.slice(4));
  });
});

test.each(["operations", "audit"])("a made-up cursor of %s is the end of the list, not a fault", async (list) => {
  for (const sequence of ["1e300", "99999999999999999999", "x", "-1"]) {
    const reply = await call("GET", `/api/v1/${list}?cursor=${encodeCursor([sequence])}`);
    expect([reply.status, reply.body.items]).toEqual([200, []]);
  }
});

describe("errors are problem details with a code and a request id (P18)", () => {
  test.each([
    ["an unknown path", "GET", "/api/v1/nothing", undefined, 404, "not-found"],
    ["a path outside the API", "GET", "/nothing", undefined, 404, "not-found"],
    ["a method that is not there", "PUT", "/api/v1/tenants", {}, 405, "method-not-allowed"],
    ["an unknown tenant", "GET", "/api/v1/tenants/nobody", undefined, 404, "not-found"],
    ["no JSON", "POST", "/api/v1/tenants", "{", 400, "bad-request"],
    ["another type", "POST", "/api/v1/tenants", [], 400, "bad-request"],
    ["a huge body", "POST", "/api/v1/tenants", { slug: "x".repeat(300_000) }, 413, "body-too-large"],
  ])("%s", async (_, method, path, body, status, code) => {
    const reply = await call(method, path, body === undefined ? {} : { body });
    expect(reply.body).toMatchObject({ status, code, type: `https://causeway.dev/errors#${code}` });
    expect(reply.status).toBe(status);
    expect(reply.headers.get("causeway-request-id")).toBe(reply.body.requestId);
  });

  test("a database that is away: 503 at once with Retry-After, and no details of it", async () => {
    const logs: string[] = [];
    const away = connect("postgres://causeway_console:secret-word@127.0.0.1:1/none", 1).db;
    const reply = await createConsole().request(
      "/api/v1/tenants",
      { headers: { authorization: `Bearer ${inject("database").adminToken}` } },
      {
        db: away,
        send: async () => {},
        members: noMembers,
        clock: () => Date.now(),
        sleep: async () => {},
        log: createLogger("console", (line) => void logs.push(line)),
        waitUntil: (work: Promise<unknown>) => createExecutionContext().waitUntil(work),
      },
    );
    expect(reply.status).toBe(503);
    expect(reply.headers.get("retry-after")).not.toBeNull();
    expect((await reply.text()) + logs.join("")).not.toContain("secret-word");
  });

  test("what was sent is not repeated in a refusal (Q05)", async () => {
    const reply = await call("POST", "/api/v1/tenants/acme/members", {
      body: { email: "no address", password: "hunter2", role: "owner" },
    });
    expect(reply.status).toBe(400);
    expect(JSON.stringify(reply.body)).not.toContain("hunter2");
  });
});

describe("Idempotency-Key", () => {
  const create = (cluster: string, name: string, key: string, as = "admin", capacity = 5) =>
    call("POST", "/api/v1/nodes", {
      as,
      body: { name, cluster, envoyUrl: "https://node.example", capacity },
      headers: { "idempotency-key": key },
    });

  test("the same request again gets the same answer, a secret that is shown once included, and changes nothing", async () => {
    const cluster = await makeCluster();
    const name = unique("n");
    const key = unique("key");
    const first = await create(cluster, name, key);
    expect(first.status).toBe(202);
    const again = await create(cluster, name, key);
    expect([again.status, again.body]).toEqual([202, first.body]);
    expect(again.headers.get("location")).toBe(first.headers.get("location"));
    const { items } = (await call("GET", `/api/v1/nodes?q=${name}`)).body;
    expect(items).toHaveLength(1);
    const { items: trail } = (await call("GET", `/api/v1/audit?subject=${first.body.node.id}`)).body;
    expect(trail).toHaveLength(1);
    // The kept answer can't be read without the caller's token, and the node's row has the hash only.
    const secret = first.body.enrolmentToken.split(".")[1];
    const [kept] = await admin`select (select string_agg(sealed_answer, '') from control.idempotency_keys)
      || (select enrolment_hash from control.nodes where name = ${name}) as text`;
    expect(kept?.["text"]).not.toContain(secret);
  });

  test("another request with the same key is refused", async () => {
    const cluster = await makeCluster();
    const key = unique("key");
    expect((await create(cluster, unique("n"), key)).status).toBe(202);
    expect((await create(cluster, unique("n"), key)).body).toMatchObject({ status: 409, code: "conflict" });
  });

  test("ten at once are one", async () => {
    const cluster = await makeCluster();
    const name = unique("n");
    const key = unique("key");
    const replies = await Promise.all(Array.from({ length: 10 }, () => create(cluster, name, key)));
    expect(replies.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 202));
    expect(new Set(replies.map(({ body }) => body.node.id)).size).toBe(1);
  });

  test("a refused request can be repeated with its key once it is possible", async () => {
    const cluster = await makeCluster();
    const key = unique("key");
    const body = { slug: unique("acme"), cluster };
    const headers = { "idempotency-key": key };
    expect((await call("POST", "/api/v1/tenants", { body, headers })).body.code).toBe("no-capacity");
    await create(cluster, unique("n"), unique("key"));
    expect((await call("POST", "/api/v1/tenants", { body, headers })).status).toBe(202);
  });

  test("keys of different tokens have nothing to do with each other, and odd keys are refused", async () => {
    const cluster = await makeCluster();
    const other = await insertApiToken(db, { name: "other", scopes: ["admin"] });
    const key = unique("key");
    const one = await create(cluster, unique("n"), key);
    const two = await create(cluster, unique("n"), key, other);
    expect([one.status, two.status]).toEqual([202, 202]);
    for (const odd of ["x".repeat(129), "with space"])
      expect((await create(cluster, unique("n"), odd)).body.code).toBe("bad-request");
  });
});

test("health needs no token; the document and its page need none, and the page needs nothing from elsewhere", async () => {
  expect((await call("GET", "/healthz", { as: null })).body).toEqual({ status: "ok" });
  const document = (await call("GET", "/api/v1/openapi.json", { as: null })).body;
  expect(document.openapi).toBe("3.1.0");
  expect(Object.keys(document.paths)).toContain("/api/v1/tenants/{tenant}");
  const page = await call("GET", "/", { as: null }); // leads there
  expect(page.headers.get("content-type")).toContain("text/html");
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  for (const path of Object.keys(document.paths)) expect(page.body).toContain(path);
  expect(page.body).not.toMatch(/(src|href)="(https?:)?\/\//);
  expect(page.body).not.toContain("<script");
});
