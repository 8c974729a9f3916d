import { expect, test } from "vitest";
import { type ServedWorker, workerdConfig } from "./capnp.ts";

const edge: ServedWorker = {
  name: "edge",
  bundle: "edge.js",
  compatibilityDate: "2026-11-01",
  compatibilityFlags: ["nodejs_compat"],
  bindings: [
    { kind: "text", name: "KEYS", value: '{"keys":["a\\b"]}\n' },
    { kind: "json", name: "LIMITS", value: '{"n":1}' },
    { kind: "objects", name: "LANE", className: "Lane", service: "lanes" },
    { kind: "service", name: "PORTAL", service: "stand-in" },
    { kind: "service", name: "SESSIONS", service: "stand-in", entrypoint: "Sessions" },
    { kind: "kv", name: "COPY", service: "stand-in" },
    { kind: "queue", name: "EVENTS", service: "stand-in" },
  ],
  objectClasses: [],
  listens: true,
};
const lanes: ServedWorker = {
  name: "lanes",
  bundle: "lanes.js",
  compatibilityDate: "2026-11-01",
  compatibilityFlags: [],
  bindings: [],
  objectClasses: [{ className: "Lane", sql: true }],
  listens: false,
};

test("Workers become services, and sockets where they listen", () => {
  expect(workerdConfig([edge, lanes], "/tmp/objects")).toMatchInlineSnapshot(`
    "using Workerd = import "/workerd/workerd.capnp";

    const config :Workerd.Config = (
      services = [
        (name = "internet", network = (allow = ["local"])),
        (name = "objects", disk = (path = "/tmp/objects", writable = true)),
        (name = "edge", worker = (
          modules = [(name = "edge.js", esModule = embed "edge.js")],
          compatibilityDate = "2026-11-01",
          compatibilityFlags = ["nodejs_compat"],
          bindings = [
            (name = "KEYS", text = "{\\"keys\\":[\\"a\\\\b\\"]}\\x0a"),
            (name = "LIMITS", json = "{\\"n\\":1}"),
            (name = "LANE", durableObjectNamespace = (className = "Lane", serviceName = "lanes")),
            (name = "PORTAL", service = "stand-in"),
            (name = "SESSIONS", service = (name = "stand-in", entrypoint = "Sessions")),
            (name = "COPY", kvNamespace = "stand-in"),
            (name = "EVENTS", queue = "stand-in"),
          ],
        )),
        (name = "lanes", worker = (
          modules = [(name = "lanes.js", esModule = embed "lanes.js")],
          compatibilityDate = "2026-11-01",
          durableObjectNamespaces = [
            (className = "Lane", uniqueKey = "lanes-Lane", enableSql = true),
          ],
          durableObjectStorage = (localDisk = "objects"),
        )),
      ],
      sockets = [
        (name = "edge", address = "127.0.0.1:0", http = (), service = "edge"),
      ],
    );
    "
  `);
});
