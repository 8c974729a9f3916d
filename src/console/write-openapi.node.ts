/** Writes docs/openapi.json from the console's code. openapi.test.ts fails when they are out of step. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createConsole, openApiDocument } from "./app.ts";

writeFileSync(
  join(import.meta.dirname, "../../docs/openapi.json"),
  `${JSON.stringify(openApiDocument(createConsole()), null, 2)}\n`,
);
