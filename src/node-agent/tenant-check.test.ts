import { expect, test } from "vitest";
import type { NodeTenant } from "../protocol/node-channel.ts";
import { checkTenant } from "./tenant-check.ts";

const app: NodeTenant["services"][number] = {
  name: "app",
  workspace: "main",
  driver: { kind: "process", command: "demo" },
  healthPath: null,
  secrets: {},
};
const tenant = (change: Partial<NodeTenant>): NodeTenant => ({
  tenantId: "ten_a",
  slug: "a",
  revision: 1,
  hosts: ["a.example"],
  routes: [{ prefix: "/app", service: "app" }],
  services: [app],
  ...change,
});
const check = (change: Partial<NodeTenant>, owners: Record<string, string> = {}): string | null =>
  checkTenant(tenant(change), { ...CATALOGUE, isMaster: false }, (host) => owners[host]);
const CATALOGUE = { commands: new Set(["demo"]), images: new Set(["web"]) };

test("a master takes fronts, a node takes everything else", () => {
  const front: NodeTenant["front"] = {
    node: { id: "nod_1", at: { host: "n1.internal", port: 10443 } },
    routes: [{ prefix: "/app", to: "node" }],
    mqtt: false,
  };
  const asMaster = (change: Partial<NodeTenant>) =>
    checkTenant(tenant(change), { ...CATALOGUE, isMaster: true }, () => undefined);
  expect(asMaster({ front, routes: [], services: [] })).toBeNull();
  expect(asMaster({ routes: [], services: [] })).toMatch(/this is a master/);
  expect(asMaster({ front })).toMatch(/this is a master/);
  expect(check({ front })).toMatch(/no master/);
});

test("a sound tenant is taken, also again and with services in several workspaces", () => {
  expect(check({})).toBeNull();
  expect(check({}, { "a.example": "ten_a" })).toBeNull();
  expect(check({ services: [app, { ...app, workspace: "second" }] })).toBeNull();
  expect(check({ services: [{ ...app, driver: { kind: "external", address: "x", port: 1 } }] })).toBeNull();
});

test.each([
  [{ services: [{ ...app, driver: { kind: "process", command: "rm" } as const }] }, /no command "rm"/],
  [{ services: [{ ...app, protocol: "mqtt" as const }] }, /which speaks MQTT/],
  [
    { routes: [], services: ["one", "two"].map((name) => ({ ...app, name, protocol: "mqtt" as const })) },
    /one MQTT service, not 2/,
  ],
  [{ services: [{ ...app, driver: { kind: "docker", image: "rm" } as const }] }, /no image "rm"/],
  [{ services: [] }, /route \/app names service app/],
  [{ services: [app, app] }, /app is there twice/],
  [{ services: [{ ...app, workspace: "../.." }] }, /not a valid name/],
  [
    {
      routes: [
        { prefix: "/app", service: "app" },
        { prefix: "/app", service: "app" },
      ],
    },
    /\/app is there twice/,
  ],
])("what can't be served is refused with a reason (%#)", (change, reason) => {
  expect(check(change)).toMatch(reason);
});

test("a host of another tenant is refused, whatever its case (H40)", () => {
  expect(check({ hosts: ["A.Example"] }, { "a.example": "ten_b" })).toBe(
    "host A.Example belongs to another tenant of this node",
  );
});
