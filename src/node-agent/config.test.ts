import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readAgentConfig, readCredentials } from "./config.ts";
import { agentPaths } from "./paths.ts";

const dir = mkdtempSync(join(tmpdir(), "cw-config-"));
const write = (value: unknown): string => {
  const path = join(dir, "agent.json");
  writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value));
  return path;
};
const least = { stateDir: "state", credentialsFile: "node.json", envoy: { binary: null, port: 1, adminPort: 2 } };

test("paths are relative to the file, everything else has a default", () => {
  expect(readAgentConfig(write(least))).toEqual({
    ok: true,
    value: {
      stateDir: join(dir, "state"),
      credentialsFile: join(dir, "node.json"),
      envoy: {
        binary: null,
        address: "127.0.0.1",
        port: 1,
        adminPort: 2,
        tls: null,
        mqttPort: null,
        masters: null,
        concurrency: null,
        drainSeconds: 600,
      },
      healthPort: null,
      commands: {},
      docker: null,
      images: {},
      master: null,
      servicePorts: { from: 21_000, to: 30_999 },
      stopServices: false,
    },
  });
});

test.each([
  ["a missing file", () => join(dir, "none.json"), /can't be read/],
  ["no JSON", () => write("{"), /is not valid JSON/],
  ["a misspelt field", () => write({ ...least, comands: {} }), /comands/],
  ["a port out of range", () => write({ ...least, envoy: { ...least.envoy, port: 70_000 } }), /envoy\.port/],
  [
    "a range that ends before it begins",
    () => write({ ...least, servicePorts: { from: 9, to: 8 } }),
    /servicePorts: from is greater/,
  ],
])("%s is refused in words", (_what, path, reason) => {
  const read = readAgentConfig(path());
  expect(read.ok ? "" : read.error).toMatch(reason);
});

test("what is wrong with a credentials file is said without quoting it", () => {
  const read = readCredentials(write({ nodeId: "nod_1", node: "n", relayUrl: "ftp://x", key: { d: "SECRET" } }));
  expect(read.ok ? "" : read.error).toMatch(/relayUrl/);
  expect(JSON.stringify(read)).not.toContain("SECRET");
});

test("sockets are beside the state, or in the temporary directory when that path is too long for one", () => {
  expect(agentPaths("/var/lib/causeway").envoyPaths.xdsSocket).toBe("/var/lib/causeway/run/xds.sock");
  const long = agentPaths(`/${"x".repeat(120)}`).envoyPaths.probeSocket;
  expect(long.length).toBeLessThan(104);
  expect(long).not.toBe(agentPaths(`/${"y".repeat(120)}`).envoyPaths.probeSocket);
});

test("images need an engine and a tag; passwords of registries are files beside the configuration", () => {
  const images = { web: { image: "ghcr.io/acme/web:1", port: 8080 } };
  expect(readAgentConfig(write({ ...least, images }))).toMatchObject({
    ok: false,
    error: expect.stringContaining("no docker"),
  });
  const untagged = { web: { image: "ghcr.io/acme/web", port: 8080 } };
  expect(readAgentConfig(write({ ...least, docker: {}, images: untagged }))).toMatchObject({
    ok: false,
    error: expect.stringContaining("names no tag or digest"),
  });
  const registries = { "ghcr.io": { username: "bot", passwordFile: "ghcr" } };
  const taken = readAgentConfig(write({ ...least, docker: { registries }, images }));
  expect(taken).toMatchObject({ ok: true, value: { images: { web: { memoryMib: 512, readOnly: false } } } });
  expect(taken.ok && taken.value.docker?.registries["ghcr.io"]?.passwordFile).toMatch(/^\/.*\/ghcr$/);
});
