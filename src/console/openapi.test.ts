import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createConsole, openApiDocument } from "./app.ts";

test("docs/openapi.json is what the console serves; to renew it: node src/console/write-openapi.node.ts", () => {
  const committed: unknown = JSON.parse(readFileSync(join(import.meta.dirname, "../../docs/openapi.json"), "utf8"));
  expect(committed).toEqual(JSON.parse(JSON.stringify(openApiDocument(createConsole()))));
});
