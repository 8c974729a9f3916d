import { expect, test } from "vitest";
import { brokenIn, missingIn } from "./check.ts";
import { readConfigs } from "./config.ts";
import { exportedNames } from "./exports.ts";

/** What our Workers export, as their bundles would say. */
const EXPORTS = new Map<string, Set<string>>([
  ["causeway-relay-control", new Set(["default", "Directory", "NodeChannel"])],
  ["causeway-relay-a", new Set(["default", "Lane"])],
  ["causeway-relay-b", new Set(["default", "Lane"])],
  ["causeway-portal", new Set(["default", "Sessions", "Members"])],
  ["causeway-provisioner", new Set(["default", "JobWorker", "JobRecords"])],
  ["causeway-console", new Set(["default", "Tenants"])],
  ["causeway-edge", new Set(["default", "TenantCalls"])],
]);
const configs = await readConfigs();
const find = (name: string) => configs.find((config) => config.name === name) ?? expect.unreachable(name);
const broken = (changed: typeof configs, exported = EXPORTS) =>
  brokenIn(changed, exported).map(({ worker, message }) => `${worker}: ${message}`);
const replaced = (name: string, change: object) =>
  configs.map((config) => (config.name === name ? { ...config, ...change } : config));

test("our own configuration has no mistakes, and says what a real account needs", () => {
  expect(broken(configs)).toEqual([]);
  const missing = missingIn(configs).map(({ worker, message }) => `${worker}: ${message}`);
  expect(missing).toEqual(
    expect.arrayContaining([
      "causeway-edge: KV namespace DIRECTORY_COPY: put in its id",
      "causeway-edge: variable BASE_DOMAINS: put in your own domain",
      "causeway-edge: variable SESSION_PUBLIC_KEYS: put in the public keys",
      "causeway-edge: variable CLIENT_ADDRESS_HEADER: cf-connecting-ip",
      "causeway-relay-b: variable CLIENT_ADDRESS_HEADER: cf-connecting-ip",
      "causeway-console: Hyperdrive CONTROL_DB: put in its id",
      "causeway-console: no routes: put in the routes of your zone",
    ]),
  );
});

test("a complete configuration has nothing missing", () => {
  const id = "0123456789abcdef0123456789abcdef";
  const complete = configs.map((config) => ({
    ...config,
    vars: Object.fromEntries(
      Object.keys(config.vars).map((name) => [
        name,
        { PUBLIC_SCHEME: "https", PUBLIC_PORT: "" }[name] ?? "example.com",
      ]),
    ),
    routes: [{ pattern: "*.example.com/*", zone_name: "example.com" }],
    kv_namespaces: config.kv_namespaces.map((one) => ({ ...one, id })),
    hyperdrive: config.hyperdrive.map((one) => ({ ...one, id })),
  }));
  expect([...missingIn(complete), ...brokenIn(complete, EXPORTS)]).toEqual([]);
});

test("a class that nobody declares, or whose code does not export it", () => {
  const bindings = [{ name: "X", class_name: "Nope", script_name: "causeway-relay-a" }];
  expect(broken(replaced("causeway-portal", { durable_objects: { bindings } }))).toEqual([
    "causeway-portal: binding X: causeway-relay-a declares no Durable Object class Nope",
  ]);
  expect(broken(configs, new Map([...EXPORTS, ["causeway-relay-b", new Set(["default"])]]))).toEqual([
    "causeway-relay-b: declares the class Lane, but its code does not export it",
  ]);
});

test("a Worker or an entrypoint that is not there", () => {
  const bindings = [{ name: "X", class_name: "Lane", script_name: "causeway-relay-c" }];
  expect(broken(replaced("causeway-portal", { durable_objects: { bindings } }))).toEqual([
    "causeway-portal: binding X: there is no Worker causeway-relay-c",
  ]);
  const found = broken(configs, new Map([...EXPORTS, ["causeway-portal", new Set(["default", "Members"])]]));
  expect(found).toEqual(["causeway-edge: binding PORTAL_SESSIONS: causeway-portal exports no Sessions"]);
});

test("queues without one of their ends", () => {
  const nobody = { ...find("causeway-provisioner").queues, consumers: [] };
  expect(broken(replaced("causeway-provisioner", { queues: nobody }))).toEqual(
    expect.arrayContaining(["causeway-console: binding PROVISIONING: nobody consumes the queue causeway-provisioning"]),
  );
  const queues = { producers: [], consumers: [{ queue: "ghost" }] };
  expect(broken(replaced("causeway-edge", { queues }))).toEqual([
    "causeway-edge: consumes the queue ghost, into which nobody sends",
  ]);
});

test("exported names of a bundle", () => {
  expect(exportedNames("var a; export { a }; x;\nexport {\n  Lane,\n  worker_default as default\n};\n")).toEqual(
    new Set(["Lane", "default"]),
  );
  expect(exportedNames("nothing")).toEqual(new Set());
});
