import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  confirmHeld,
  createHeldRemovals,
  isConfirmed,
  isMassRemoval,
  readHeldTenants,
  writeHeld,
} from "./removal-breaker.ts";

test.each([
  [3, 2, false],
  [3, 3, true],
  [12, 3, false],
  [11, 3, true],
  [10_000, 2_500, false],
  [10_000, 2_501, true],
])("of %i tenants, %i missing: held is %s (E08)", (present, missing, held) => {
  expect(isMassRemoval(present, missing)).toBe(held);
});

test("who confirms has confirmed what was held then, and nothing that came later", async () => {
  const dir = mkdtempSync(join(tmpdir(), "cw-held-"));
  const [a, b] = [
    { tenantId: "ten_a", slug: "a", revision: 1 },
    { tenantId: "ten_b", slug: "b", revision: 1 },
  ];
  expect(await readHeldTenants(dir)).toEqual([]);
  await confirmHeld(dir);
  await writeHeld(dir, [a]);
  expect(await isConfirmed(dir)).toBe(false);
  expect(await readHeldTenants(dir)).toEqual([a]);
  await confirmHeld(dir);
  expect(await isConfirmed(dir)).toBe(true);
  await writeHeld(dir, [a, b]);
  expect(await isConfirmed(dir)).toBe(false);
  await confirmHeld(dir);
  await writeHeld(dir, []);
  expect(await isConfirmed(dir)).toBe(false);
});

test("held removals are saved whenever they change, and let go one by one", async () => {
  const saved: string[][] = [];
  const held = createHeldRemovals([], async (removals) => void saved.push(removals.map(({ tenantId }) => tenantId)));
  await held.replace([]);
  await held.replace(["ten_a", "ten_b"].map((tenantId) => ({ tenantId, slug: tenantId, revision: 1 })));
  await held.letGo("ten_c");
  await held.letGo("ten_a");
  await held.replace([]);
  expect(saved).toEqual([["ten_a", "ten_b"], ["ten_b"], []]);
});
