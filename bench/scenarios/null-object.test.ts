import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

// The null object is the yardstick that every result of the relay is a share of. If this fails, take the change back.
test("the null object is the file that it always was", () => {
  const text = readFileSync(join(import.meta.dirname, "../workers/null-object.js"));
  expect(createHash("sha256").update(text).digest("hex")).toBe(
    "0e7b73fa627899a402dd6eba2f27207a3043cb40243c267a05d16be88d62d6f3",
  );
});
