import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { EdgePolicy } from "../../policy/edge-policy.ts";
import { frontRoutes } from "../../policy/front.ts";
import { accessMode, tenantRoute, type TenantRoute } from "../../policy/record.ts";
import { matchRoute } from "../../policy/route.ts";
import type { Front, NodeTenant } from "../../protocol/node-channel.ts";
import { encodeTenant } from "../xds/codec.ts";
import { renderFallback, renderFront, TO_NODE } from "./render-front.ts";
import type { RouteConfig } from "./resources.ts";

const AT = { id: "nod_1", at: { host: "n1.internal", port: 10443 } };
const tenant = (hosts: readonly string[] = ["acme.example.com"]): NodeTenant => ({
  tenantId: "ten_acme",
  slug: "acme",
  revision: 7,
  hosts: [...hosts],
  routes: [],
  services: [],
});
const render = (front: Partial<Front>, hosts?: readonly string[]) =>
  renderFront(tenant(hosts), { node: AT, routes: [], mqtt: false, ...front }, "/secrets");

/** The route that Envoy takes: the first that matches. */
function taken(routes: readonly RouteConfig[], path: string): RouteConfig | undefined {
  return routes.find(({ match: { prefix, path_separated_prefix: whole, headers } }) => {
    if (headers !== undefined) return false; // what only the agent and the listener for MQTT set
    if (prefix !== undefined) return path.startsWith(prefix);
    return whole !== undefined && (path === whole || path.startsWith(`${whole}/`));
  });
}
const leadsTo = (routes: readonly TenantRoute[], policy: EdgePolicy | undefined, path: string): string => {
  const [scope] = render({ routes: frontRoutes(routes, policy) }).scopes;
  const found = taken(scope?.route_configuration.virtual_hosts[0]?.routes ?? [], path);
  // As the front filter does.
  return found?.name === `${TO_NODE}ten_acme` ? (found.route?.cluster ?? "nowhere") : "edge";
};
const NODE = "node/nod_1@n1.internal:10443";

const segment = fc.constantFrom("a", "b", "app", "app2", "admin");
const prefix = fc.array(segment, { maxLength: 3 }).map((segments) => `/${segments.join("/")}`);
const networks = { deny: ["192.0.2.0/24"] };
const limits = { requestsPerSecond: 1 };
const cors = { origins: ["*"], credentials: false, methods: ["GET"], exposeHeaders: [], maxAgeSeconds: 1 };
const maybe = <T>(value: T) => fc.constantFrom(undefined, undefined, undefined, null, value);
const route: fc.Arbitrary<TenantRoute> = fc
  .record({
    prefix,
    access: fc.oneof(fc.constant("public" as const), fc.constantFrom(...accessMode.options)),
    to: fc.constantFrom<TenantRoute["to"]>(
      { kind: "service", service: "app" },
      { kind: "service", service: "app" },
      { kind: "target", target: "demo" },
      { kind: "redirect", location: "/", status: 302, keepPath: false, keepQuery: false },
      { kind: "answer", status: 200, contentType: "text/plain", body: "" },
    ),
    roles: maybe({ use: "admin" as const }),
    network: maybe(networks),
    limits: maybe(limits),
    cors: maybe(cors),
    timeouts: maybe({ firstByteMs: 1_500 }),
    rewrite: maybe({ prefix: "/v2" }),
  })
  .map((made) => tenantRoute.parse(made));
const policy: fc.Arbitrary<EdgePolicy | undefined> = fc.option(
  fc.record({
    network: maybe(networks),
    limits: maybe(limits),
    cors: maybe(cors),
    maintenance: maybe({ message: "x", retryAfterSeconds: 1, allow: [] }),
    securityHeaders: fc.constantFrom(undefined, false, true),
    password: maybe({ id: "1", saltHex: "0".repeat(32), iterations: 10_000, hashHex: "0".repeat(64) }),
  }),
  { nil: undefined },
);

/** As the edge has it, in words of its own: nobody is asked for anything, and nothing is counted or added. */
const isOpenAtEdge = (one: TenantRoute): boolean =>
  one.to.kind === "service" && one.access === "public" && !one.roles && !one.network && !one.limits && !one.cors;
const hasNoRules = (rules: EdgePolicy | undefined): boolean =>
  rules === undefined ||
  (!rules.network && !rules.limits && !rules.cors && !rules.maintenance && rules.securityHeaders !== true);

test("a path that leads to a node is one that the edge would let everybody take there, and each such path does", () => {
  fc.assert(
    fc.property(fc.array(route, { maxLength: 8 }), policy, prefix, (table, rules, path) => {
      // A prefix is there once (the API sees to it).
      const routes = [...new Map(table.map((one) => [one.prefix, one])).values()];
      const match = matchRoute(routes, path);
      const isOpen = match.kind === "route" && isOpenAtEdge(match.route) && hasNoRules(rules);
      expect(leadsTo(routes, rules, path)).toBe(isOpen ? NODE : "edge");
    }),
    { numRuns: 2_000 },
  );
});

test("of two routes with one prefix, which must not be, the closed one counts", () => {
  const open = tenantRoute.parse({ prefix: "/a", access: "public", to: { kind: "service", service: "app" } });
  for (const routes of [
    [open, { ...open, access: "member" as const }],
    [{ ...open, access: "member" as const }, open],
  ])
    expect(leadsTo(routes, undefined, "/a/b")).toBe("edge");
});

test("a rule that this version does not know closes the tenant", () => {
  const open = tenantRoute.parse({ prefix: "/", access: "public", to: { kind: "service", service: "app" } });
  expect(leadsTo([open], {}, "/")).toBe(NODE);
  expect(leadsTo([open], JSON.parse('{"embargo":true}'), "/")).toBe("edge");
});

describe("a tenant's scopes", () => {
  test("all hosts and tenants of a node share its one cluster", () => {
    const units = ["ten_a", "ten_b"].map((tenantId) =>
      encodeTenant(
        tenantId,
        1,
        renderFront(
          { ...tenant([`${tenantId}.example.com`, "x.example.com"]), tenantId },
          { node: AT, routes: [{ prefix: "/", to: "node" }], mqtt: true },
          "/secrets",
        ),
      ),
    );
    const clusters = units.flatMap((unit) => unit.clusters);
    expect(new Set(clusters.map(({ name, version }) => `${name} ${version}`)).size).toBe(1);
  });

  test("what the edge would tell the service and wait for, the master does", () => {
    const routes = frontRoutes(
      [
        tenantRoute.parse({
          prefix: "/shop",
          access: "public",
          to: { kind: "service", service: "app" },
          rewrite: { prefix: "/" },
          timeouts: { firstByteMs: 1_500 },
        }),
      ],
      undefined,
    );
    expect(routes).toEqual([{ prefix: "/shop", to: "node", firstByteMs: 1_500, forwardedPrefix: "/shop" }]);
    const [scope] = render({ routes }).scopes;
    expect(taken(scope?.route_configuration.virtual_hosts[0]?.routes ?? [], "/shop")).toMatchObject({
      route: { retry_policy: { per_try_timeout: { seconds: 1, nanos: 500_000_000 } } },
      request_headers_to_add: [{ header: { key: "x-forwarded-prefix", value: "/shop" } }],
    });
  });

  test("a service that speaks HTTP/2 may say nothing until it has something to say, unless its route has a limit", () => {
    const to = { kind: "service", service: "grpc" } as const;
    const routes = frontRoutes(
      [
        tenantRoute.parse({ prefix: "/a.Long", access: "public", to }),
        tenantRoute.parse({ prefix: "/a.Short", access: "public", to, timeouts: { firstByteMs: 2_000 } }),
        tenantRoute.parse({ prefix: "/app", access: "public", to: { kind: "service", service: "app" } }),
      ],
      undefined,
      new Set(["grpc"]),
    );
    expect(routes.map(({ h2c }) => h2c)).toEqual([true, true, undefined]);
    const [host] = render({ routes }).scopes[0]?.route_configuration.virtual_hosts ?? [];
    const limitOf = (path: string) =>
      (taken(host?.routes ?? [], path)?.route?.retry_policy ?? host?.retry_policy)?.per_try_timeout;
    expect(["/a.Long", "/a.Short", "/app"].map(limitOf)).toEqual([undefined, { seconds: 2 }, { seconds: 60 }]);
  });

  test("is what it was", async () => {
    const rendered = render({
      routes: [
        { prefix: "/app", to: "node" },
        { prefix: "/app/admin", to: "edge" },
      ],
      mqtt: true,
    });
    await expect(`${JSON.stringify([rendered, renderFallback()], null, 2)}\n`).toMatchFileSnapshot(
      "../../../test/golden/node-agent/front.json",
    );
  });
});
