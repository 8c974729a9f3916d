import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CliError } from "../frame/exit.ts";
import { composePaths, containerUser, projectName, renderEnv } from "./compose-files.ts";
import { PORT_NAMES } from "./context.ts";
import { PACKAGE_ROOT } from "./paths.ts";

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
const port = (name: string) => 12_000 + PORT_NAMES.findIndex((one) => one === name);
const stack = { relayUrl: "http://relay.causeway.localhost:8787", port };
const namesIn = (env: string) =>
  [...env.matchAll(/^([A-Z0-9_]+)=/gm)].map(([, name = ""]) => name).toSorted((a, b) => a.localeCompare(b));
const images = ["CAUSEWAY_NODE_IMAGE", "CAUSEWAY_POSTGRES_IMAGE", "CAUSEWAY_ENVOY_IMAGE"];

test("both .env files hold exactly what the compose file asks for", () => {
  const found = [...read("local-stack/compose.yaml").matchAll(/\$\{([A-Z0-9_]+)/g)].map(([, name = ""]) => name);
  const asked = [...new Set(found)].toSorted((a, b) => a.localeCompare(b));
  const environment = Object.fromEntries(images.map((name) => [name, "mirror.example/image:1"]));
  expect(namesIn(renderEnv(composePaths("/state"), stack, environment))).toEqual(asked);
  expect(namesIn(read("local-stack/compose/.env.example"))).toEqual(asked);
});

test("the images are the compose file's own unless the environment names others", () => {
  const env = renderEnv(composePaths("/state"), stack, { CAUSEWAY_NODE_IMAGE: "" });
  expect(namesIn(env).filter((name) => name.endsWith("_IMAGE"))).toEqual([]);
});

test("paths are written so that both compose clients take them literally, or refused", () => {
  expect(renderEnv(composePaths("/my state/$x"), stack, {})).toContain("CAUSEWAY_FILES='/my state/$x/compose/files'\n");
  expect(() => renderEnv(composePaths("/it's"), stack, {})).toThrow(CliError);
});

test("stacks in different folders are different projects, always the same one", () => {
  expect(projectName("/a")).toMatch(/^causeway-[0-9a-f]{8}$/);
  expect(projectName("/a")).toBe(projectName("/a"));
  expect(projectName("/a")).not.toBe(projectName("/b"));
});

test("containers never run as root", () => {
  expect(containerUser(0, 0)).toEqual({ uid: 1000, gid: 1000 });
  expect(containerUser(1001, 100)).toEqual({ uid: 1001, gid: 100 });
});
