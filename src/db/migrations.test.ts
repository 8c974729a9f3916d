import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bundle, bundlePath } from "./bundle-migrations.node.ts";

test.each(["control", "tenant"] as const)("the bundled SQL is that of drizzle/%s", (kind) => {
  expect(readFileSync(bundlePath(kind), "utf8")).toBe(bundle(kind));
});
