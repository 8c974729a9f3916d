import { expect, test } from "vitest";
import { isId } from "../shared/ids.ts";
import { createRequestIds, pooled } from "./ids.ts";

test("no random bytes are given twice, and none are left out", () => {
  const take = pooled((bytes) => void crypto.getRandomValues(bytes));
  const seen = new Set<string>();
  for (let n = 0; n < 1_000; n++) {
    const bytes = new Uint8Array(24);
    take(bytes);
    expect(bytes.some((byte) => byte !== 0)).toBe(true);
    seen.add(bytes.join());
  }
  expect(seen.size).toBe(1_000);
});

test("ids and traces are of the usual form, and a visitor's trace goes on", () => {
  const ids = createRequestIds((bytes) => void crypto.getRandomValues(bytes));
  expect(isId("req", ids.newRequestId())).toBe(true);
  expect(ids.newRequestId()).not.toBe(ids.newRequestId());
  expect(ids.traceOf(null)).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  const inbound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  expect(ids.traceOf(inbound)).toBe(inbound);
});
