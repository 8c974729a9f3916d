import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { CONTAINERS } from "../../src/cli/build/containers.ts";
import { composeCommand } from "../../src/cli/local/compose-client.ts";

const COMPOSE_FILE = "local-stack/compose.yaml";
const EXAMPLE = "local-stack/compose/.env.example";

/** docker-compose 1 looks whether the build contexts are there, even when it only parses. */
let contexts: string;
beforeAll(() => {
  contexts = mkdtempSync(join(tmpdir(), "causeway-contexts-"));
  for (const name of CONTAINERS) mkdirSync(join(contexts, name));
});
afterAll(() => rmSync(contexts, { recursive: true, force: true }));

function config(...flags: string[]) {
  const [program = "", ...args] = composeCommand() ?? [];
  const env = { ...process.env, CAUSEWAY_CONTEXTS: contexts };
  return spawnSync(program, [...args, ...flags, "-f", COMPOSE_FILE, "config"], { encoding: "utf8", env });
}

test("compose parses the project with the example's variables", () => {
  const { status, stdout, stderr } = config("--env-file", EXAMPLE);
  expect(status, stderr).toBe(0);
  const services = z.object({ services: z.record(z.string(), z.looseObject({})) }).parse(parse(stdout)).services;
  expect(Object.keys(services).toSorted()).toEqual([
    "agent-hank-schrader",
    "agent-walter-white",
    "connector-plant-1-a",
    "connector-plant-1-b",
    "envoy-hank-schrader",
    "envoy-walter-white",
    "postgres",
    "target-demo",
  ]);
  for (const [name, service] of Object.entries(services)) {
    expect([name, service]).toEqual([
      name,
      expect.objectContaining({
        network_mode: "host",
        restart: "unless-stopped",
        init: true,
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
        healthcheck: expect.anything(),
        logging: expect.objectContaining({ options: expect.objectContaining({ "max-size": "8m" }) }),
      }),
    ]);
  }
});

test("without its variables it stops and says which file lists them", () => {
  const empty = join(contexts, "empty.env");
  writeFileSync(empty, "");
  const { status, stderr } = config("--env-file", empty);
  expect(status).not.toBe(0);
  expect(stderr).toContain("compose/.env.example");
});

test("the example holds no secrets, and says that this is a demo", () => {
  expect(readFileSync(EXAMPLE, "utf8")).not.toMatch(/PASSWORD|SECRET|TOKEN|KEY/);
  for (const file of [COMPOSE_FILE, "local-stack/compose/README.md"]) {
    expect(readFileSync(file, "utf8")).toMatch(/not for production/i);
  }
});
