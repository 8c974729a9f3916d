import * as fc from "fast-check";
import { expect, test } from "vitest";
import { newId } from "../shared/ids.ts";
import { quoteIdentifier, quoteLiteral, tenantSchemaName } from "./identifiers.ts";

test("a tenant's schema is named by its id, within PostgreSQL's 63 bytes (G12)", () => {
  const id = newId("ten");
  expect(tenantSchemaName(id)).toBe(id);
  expect(tenantSchemaName(id).length).toBeLessThan(63);
});

test("nothing else becomes a schema name", () => {
  for (const text of ["", "ten_", "acme", newId("con"), `${newId("ten")}x`, `${newId("ten")}"; drop schema x`])
    expect(() => tenantSchemaName(text)).toThrow("not a tenant id");
});

test("what is quoted can't leave its quotes", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom("a", '"', "'", "\\", "_", ";", "\n") })),
      (text) => {
        for (const [quote, mark] of [
          [quoteIdentifier, '"'],
          [quoteLiteral, "'"],
        ] as const) {
          let quoted: string;
          try {
            quoted = quote(text);
          } catch {
            continue;
          }
          expect(quoted).toBe(`${mark}${text}${mark}`);
          expect(text).not.toMatch(/["'\\\n;]/);
        }
      },
    ),
  );
});
