import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { NodeTenant } from "../../protocol/node-channel.ts";
import { encodeTenant } from "../xds/codec.ts";
import { probeAnswer, renderTenant, type Endpoint } from "./render.ts";

const service = (name: string): NodeTenant["services"][number] => ({
  name,
  workspace: "main",
  driver: { kind: "process", command: "demo-service" },
  healthPath: "/healthz",
  secrets: {},
});
const acme: NodeTenant = {
  tenantId: "ten_acme",
  slug: "acme",
  revision: 7,
  hosts: ["acme.example.com", "Shop.Example.ORG"],
  routes: [
    { prefix: "/", service: "app" },
    { prefix: "/app", service: "app" },
    { prefix: "/app/admin", service: "manager" },
    { prefix: "/connectors", service: "connectors" },
  ],
  services: ["app", "connectors", "manager"].map(service),
};
const endpoints = new Map<string, Endpoint>([
  ["app", { address: "127.0.0.1", port: 21001 }],
  ["connectors", { address: "127.0.0.1", port: 21002 }],
  ["manager", { address: "manager.internal", port: 21003 }],
]);

describe("a rendered tenant", () => {
  test("is what it was", async () => {
    const text = `${JSON.stringify(renderTenant(acme, endpoints), null, 2)}\n`;
    await expect(text).toMatchFileSnapshot("../../../test/golden/node-agent/tenant.json");
  });

  test("has its routes from the longest prefix to the shortest, the probe and what is not its own first, a 404 last", () => {
    const { scopes } = renderTenant(acme, endpoints);
    for (const scope of scopes) {
      expect(scope.route_configuration.virtual_hosts[0]?.routes.map(({ name }) => name)).toEqual([
        "probe",
        "another-tenant",
        "service/connectors",
        "service/app/admin",
        "service/app",
        "service/",
        "no-route",
      ]);
    }
  });

  test("puts what a route says in the place of its prefix and of the host, whatever their slashes", () => {
    const rewrites: [prefix: string, rewrite: { prefix?: string; host?: string }][] = [
      ["/", { prefix: "/base" }],
      ["/cut", { prefix: "/" }],
      ["/moved", { prefix: "/to", host: "app.internal" }],
      ["/same", { prefix: "/same" }],
    ];
    const routes = rewrites.map(([prefix, rewrite]) => ({ prefix, service: "app", rewrite }));
    const [scope] = renderTenant({ ...acme, routes }, endpoints).scopes;
    const rendered = scope?.route_configuration.virtual_hosts[0]?.routes.slice(2, -1) ?? [];
    const shown = rendered.map(({ match, route }) => [
      match,
      route?.prefix_rewrite,
      route?.host_rewrite_literal ?? route?.host_rewrite_header,
    ]);
    expect(shown).toEqual([
      [{ path_separated_prefix: "/moved" }, "/to", "app.internal"],
      [{ path_separated_prefix: "/same" }, undefined, "x-causeway-host"],
      [{ prefix: "/cut/" }, "/", "x-causeway-host"],
      [{ path: "/cut" }, "/", "x-causeway-host"],
      [{ prefix: "/" }, "/base/", "x-causeway-host"],
    ]);
  });

  test("names a cluster by its endpoint, so that a moved service gets another one", () => {
    const moved = new Map(endpoints).set("app", { address: "127.0.0.1", port: 29999 });
    const before = renderTenant(acme, endpoints).clusters.map(({ name }) => name);
    const after = renderTenant(acme, moved).clusters.map(({ name }) => name);
    expect(before.filter((name) => !after.includes(name))).toEqual(["t/ten_acme/app@127.0.0.1:21001"]);
    expect(after.filter((name) => !before.includes(name))).toEqual(["t/ten_acme/app@127.0.0.1:29999"]);
  });

  test("speaks HTTP/2 to a service of that protocol, by a cluster of its own", () => {
    const services = acme.services.map((each) => (each.name === "app" ? { ...each, protocol: "h2c" as const } : each));
    const { clusters } = renderTenant({ ...acme, services }, endpoints);
    const speaks = clusters.map(({ name, upstream_http_options: http }) => [name, http?.explicit_http_config]);
    expect(Object.fromEntries(speaks)).toMatchObject({
      "t/ten_acme/app@127.0.0.1:21001/h2c": { http2_protocol_options: {} },
      "t/ten_acme/connectors@127.0.0.1:21002": { http_protocol_options: {} },
      "t/ten_acme/manager@manager.internal:21003": { http_protocol_options: {} },
    });
  });

  test("leaves an address that is none to Envoy to refuse", () => {
    const bad = new Map(endpoints).set("app", { address: "300.1.1.1", port: 1 });
    expect(renderTenant(acme, bad).clusters.find(({ name }) => name.includes("app"))?.type).toBe("STATIC");
  });
});

const prefix = fc
  .array(fc.stringMatching(/^[a-z0-9-]{1,8}$/), { maxLength: 4 })
  .map((segments) => `/${segments.join("/")}`);
const tenant = fc.record({
  tenantId: fc.constant("ten_x"),
  slug: fc.constant("x"),
  revision: fc.nat(),
  hosts: fc.uniqueArray(fc.domain(), { maxLength: 6 }),
  routes: fc.uniqueArray(fc.record({ prefix, service: fc.constantFrom("app", "connectors", "manager") }), {
    selector: (route) => route.prefix,
    maxLength: 12,
  }),
  services: fc.constant(acme.services),
});

/** Envoy's own matching: the first route whose prefix matches whole segments. */
function match(unit: ReturnType<typeof renderTenant>, path: string): string | undefined {
  return unit.scopes[0]?.route_configuration.virtual_hosts[0]?.routes.find(
    ({ match: { prefix: any, headers, path_separated_prefix: whole } }) =>
      headers !== undefined
        ? false
        : whole === undefined
          ? path.startsWith(any ?? "")
          : path === whole || path.startsWith(`${whole}/`),
  )?.name;
}

test("every path goes to the longest prefix of whole segments, or nowhere (H31)", () => {
  fc.assert(
    fc.property(tenant, prefix, fc.string({ maxLength: 4 }), (spec, base, tail) => {
      const unit = renderTenant({ ...spec, hosts: ["h.example"] }, endpoints);
      const path = `${base}${tail.replaceAll(/[?#]/g, "")}`;
      const longest = spec.routes
        .map((route) => route.prefix)
        .filter((one) => one === "/" || path === one || path.startsWith(`${one}/`))
        .toSorted((a, b) => b.length - a.length)[0];
      expect(match(unit, path)).toBe(longest === undefined ? "no-route" : `service${longest}`);
    }),
  );
});

test("the same tenant is the same bytes in whatever order it is told; another revision is another unit", () => {
  fc.assert(
    fc.property(tenant, (spec) => {
      const one = encodeTenant(spec.tenantId, spec.revision, renderTenant(spec, endpoints));
      const turned = { ...spec, hosts: spec.hosts.toReversed(), routes: spec.routes.toReversed() };
      const other = encodeTenant(spec.tenantId, spec.revision, renderTenant(turned, endpoints));
      expect(new Set(other.clusters.map(({ version }) => version))).toEqual(
        new Set(one.clusters.map(({ version }) => version)),
      );
      expect(other.scopes).toEqual(one.scopes);
      const next = { ...spec, revision: spec.revision + 1 };
      expect(encodeTenant(next.tenantId, next.revision, renderTenant(next, endpoints)).hash).not.toBe(one.hash);
    }),
  );
});

test("every scope's name follows from its key, keys are lower case, and every route's cluster is there", () => {
  fc.assert(
    fc.property(tenant, (spec) => {
      const { scopes, clusters } = renderTenant(spec, endpoints);
      const known = new Set(clusters.map(({ name }) => name));
      for (const { name, key, route_configuration: routes } of scopes) {
        const host = key.fragments[0]?.string_key ?? "";
        expect([name, routes.name, host]).toEqual([`t/${host}`, `t/${host}`, host.toLowerCase()]);
        for (const { route } of routes.virtual_hosts[0]?.routes ?? [])
          if (route !== undefined) expect(known).toContain(route.cluster);
      }
    }),
  );
});

test("the probe names tenant and revision", () => {
  expect(probeAnswer("ten_acme", 7)).toBe("ten_acme/7");
});
