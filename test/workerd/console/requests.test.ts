import { beforeAll, describe, expect, test } from "vitest";
import { call, makeCluster, makeNode, unique } from "./api.ts";

describe("a known path with another method", () => {
  test.each([
    ["PUT", "/api/v1/tenants", "GET, HEAD, POST"],
    ["POST", "/api/v1/tenants/acme", "DELETE, GET, HEAD, PATCH"],
    ["DELETE", "/api/v1/operations/op_1/events", "GET, HEAD"],
    ["POST", "/healthz", "GET, HEAD"],
  ])("%s %s answers 405 and says which there are", async (method, path, allow) => {
    const reply = await call(method, path);
    expect(reply.body).toMatchObject({ status: 405, code: "method-not-allowed" });
    expect(reply.headers.get("allow")).toBe(allow);
    expect(reply.headers.get("content-type")).toBe("application/problem+json");
  });

  test.each(["/api/v1/nothing", "/api/v1/tenants/", "/api/v1/tenants/a/b/c"])("%s is no path at all", async (path) => {
    const reply = await call("PUT", path);
    expect(reply.body).toMatchObject({ status: 404, code: "not-found" });
    expect(reply.headers.get("allow")).toBeNull();
  });
});

describe("control characters are refused before anything looks at them", () => {
  test.each([
    ["GET", "/api/v1/tenants?q=%00"],
    ["GET", "/api/v1/connectors?q=a%00"],
    ["GET", "/api/v1/nodes?q=%1F"],
    ["GET", "/api/v1/tenants/a%00b"],
    ["GET", "/api/v1/nodes/%00"],
    ["GET", "/api/v1/connectors/%0a"],
    ["DELETE", "/api/v1/tenants/a%7f"],
    ["GET", "/api/v1/operations/%00/events"],
  ])("%s %s", async (method, path) => {
    expect((await call(method, path)).body).toMatchObject({ status: 400, code: "bad-request" });
  });

  test("also in a cursor and in a body, where the database is the first to see them", async () => {
    const cursor = btoa(encodeURIComponent(JSON.stringify(["\0", "x"]))).replaceAll("=", "");
    expect((await call("GET", `/api/v1/tenants?cursor=${cursor}`)).body).toMatchObject({
      status: 400,
      code: "bad-request",
    });
    const reply = await call("POST", "/api/v1/tenants", { body: { slug: unique("nul"), cluster: "a\0b" } });
    expect(reply.body).toMatchObject({ status: 400, code: "bad-request" });
  });

  test("an escaped percent sign is none of them", async () => {
    expect((await call("GET", "/api/v1/tenants?q=%2500")).status).toBe(200);
    expect((await call("GET", "/api/v1/tenants/a%2500b")).status).toBe(404);
  });
});

describe("an operation's next attempt", () => {
  let cluster: string;
  beforeAll(async () => {
    cluster = await makeCluster();
    await makeNode(cluster, 10);
  });

  test("is due at once when it is new, not before it was made", async () => {
    const { body } = await call("POST", "/api/v1/tenants", { body: { slug: unique("due"), cluster } });
    expect(body.operation.nextAttemptAt).toBe(body.operation.createdAt);
  });
});
