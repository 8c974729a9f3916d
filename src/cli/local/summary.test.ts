import { expect, test } from "vitest";
import { statePaths } from "./paths.ts";
import { readySummary } from "./summary.ts";

const stack = {
  edgeUrl: "http://127.0.0.1:8787",
  baseDomain: "causeway.localhost",
  consoleUrl: "http://127.0.0.1:8788",
  relayUrl: "http://relay.causeway.localhost:8787",
  apiToken: "cw_secret",
  databaseUrl: "postgres://postgres:secret@127.0.0.1:5432/causeway",
  nodes: [],
  tenants: [{ slug: "acme", host: "acme.causeway.localhost" }],
  connectors: [],
  pid: 1,
};
const summary = (detached: boolean): string => readySummary(stack, [], statePaths("/stack"), { detached });

test("the last line says how this start is stopped", () => {
  expect(summary(false)).toMatch(/\nCtrl-C stops everything\.$/);
  expect(summary(true)).toMatch(/, npx causeway down stops them\.$/);
  expect(summary(true)).not.toContain("Ctrl-C");
});

test("every command is printed as a clone can run it, and no secret with it", () => {
  expect(summary(false)).not.toMatch(/(?<!npx )causeway (status|logs|down|tenant)/);
  expect(summary(false)).not.toContain("secret");
});
