import { expect, test } from "vitest";
import { fromWrangler, type WranglerConfig } from "./from-wrangler.ts";

const config: WranglerConfig = {
  name: "edge",
  compatibility_date: "2026-11-01",
  vars: { BASE: "a.example", LIMITS: { n: 1 } },
  secrets: { required: ["KEY"] },
  durable_objects: {
    bindings: [
      { name: "LANE", class_name: "Lane", script_name: "lanes" },
      { name: "OWN", class_name: "Own" },
      { name: "AWAY", class_name: "Away", script_name: "elsewhere" },
    ],
  },
  exports: { Own: { type: "durable-object", storage: "sqlite" } },
  kv_namespaces: [{ binding: "COPY" }],
  queues: { producers: [{ binding: "EVENTS" }] },
  services: [
    { binding: "LANES", service: "lanes", entrypoint: "Control" },
    { binding: "PORTAL", service: "portal", entrypoint: "Sessions" },
  ],
};
const options = {
  bundle: "edge.js",
  settings: { BASE: "b.example", KEY: "k" },
  served: ["edge", "lanes"],
  standIn: "none",
  listens: true,
};

test("every binding of a wrangler.toml is there, and what is not served is stood in for", () => {
  expect(fromWrangler(config, options)).toEqual({
    name: "edge",
    bundle: "edge.js",
    compatibilityDate: "2026-11-01",
    compatibilityFlags: [],
    bindings: [
      { kind: "text", name: "BASE", value: "b.example" },
      { kind: "json", name: "LIMITS", value: '{"n":1}' },
      { kind: "text", name: "KEY", value: "k" },
      { kind: "objects", name: "LANE", className: "Lane", service: "lanes" },
      { kind: "objects", name: "OWN", className: "Own", service: "edge" },
      { kind: "service", name: "AWAY", service: "none" },
      { kind: "service", name: "LANES", service: "lanes", entrypoint: "Control" },
      { kind: "service", name: "PORTAL", service: "none" },
      { kind: "kv", name: "COPY", service: "none" },
      { kind: "queue", name: "EVENTS", service: "none" },
    ],
    objectClasses: [{ className: "Own", sql: true }],
    listens: true,
  });
});

test("a secret that is required and not given is an error that names it", () => {
  expect(() => fromWrangler(config, { ...options, settings: {} })).toThrow("edge needs the secret KEY");
});
