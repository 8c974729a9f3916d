import { expect, test } from "vitest";
import { runTenantsUnderLoad } from "../support/tenants-under-load.ts";

// The size of a test; a million by `node test/load/tenants.ts`.
test(
  "under load, while routes change and tenants are suspended, moved and made anew, no answer is another tenant's",
  { timeout: 180_000 },
  async () => {
    const { verdicts, wrong, failed, by, changes, tenantsSeen } = await runTenantsUnderLoad({
      seed: 1,
      requests: 20_000,
      connections: 64,
      tenants: 50,
      changeEveryMs: 50,
    });
    expect(wrong).toEqual([]);
    expect(verdicts.wrong).toBe(0);
    // Nor fails one without a reason.
    expect(failed).toEqual([]);
    expect(verdicts.failed).toBe(0);
    // It is about something: all tenants answered, both ways, and all kinds of changes happened.
    expect(verdicts.good).toBeGreaterThan(8_000);
    expect(Object.keys(by).toSorted()).toEqual(["service", "target"]);
    expect(Object.keys(changes).toSorted()).toEqual(["moved", "recreated", "resumed", "routes", "suspended"]);
    expect(tenantsSeen).toBeGreaterThan(50);
    // Only a tenant that goes or comes may fail to answer.
    expect(verdicts.moving).toBeLessThan(1_000);
  },
);
