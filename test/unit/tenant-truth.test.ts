import { describe, expect, test } from "vitest";
import { createTimeline, EFFECTIVE_MS, type Truth } from "../support/tenant-truth.ts";

// Who judges the load of many tenants (test/support/tenants-under-load.ts) has to be right itself.
const active = (tenantId: string): NonNullable<Truth> => ({ tenantId, state: "active", routes: { "/app": "service" } });
const at = (startedMs: number, prefix: string | null = "/app") => ({ prefix, startedMs, endedMs: startedMs + 5 });
const answer = (tenantId: string, by = "service") => ({ kind: "answer", tenantId, by }) as const;
const error = (code: string) => ({ kind: "error", code }) as const;

/** Changed at 100,000 from the one to the other; the call took 50 ms. */
function changed(from: Truth, to: Truth) {
  const timeline = createTimeline();
  timeline.change(from, 1)(2);
  timeline.change(to, 100_000)(100_050);
  return timeline;
}
const LATE = 100_050 + EFFECTIVE_MS + 1;

describe("an answer", () => {
  test("of the tenant before is good until the bound is over, and wrong then", () => {
    const { judge } = changed(active("ten_a"), active("ten_b"));
    expect(judge(at(LATE - 1), answer("ten_a"))).toBe("good");
    expect(judge(at(LATE), answer("ten_a"))).toBe("wrong");
    expect(judge(at(LATE), answer("ten_b"))).toBe("good");
  });

  test("of the tenant after is wrong before the change was asked for, and of a third always", () => {
    const { judge } = changed(active("ten_a"), active("ten_b"));
    expect(judge(at(99_000), answer("ten_b"))).toBe("wrong");
    expect(judge(at(100_000), answer("ten_b"))).toBe("good");
    for (const when of [99_000, 100_020, LATE]) expect(judge(at(when), answer("ten_c"))).toBe("wrong");
  });

  test("of whoever the path does not lead to is wrong", () => {
    const { judge } = changed(null, active("ten_a"));
    expect(judge(at(LATE), answer("ten_a", "target"))).toBe("wrong");
    expect(judge(at(LATE, "/other"), answer("ten_a"))).toBe("wrong");
    expect(judge(at(LATE, null), answer("ten_a", "target"))).toBe("good");
  });

  test("of a suspended tenant is wrong once the bound is over", () => {
    const { judge } = changed(active("ten_a"), { ...active("ten_a"), state: "suspended" });
    expect(judge(at(LATE - 1), answer("ten_a"))).toBe("good");
    expect(judge(at(LATE), answer("ten_a"))).toBe("wrong");
    expect(judge(at(LATE), error("tenant-suspended"))).toBe("refused");
  });
});

test("an error is wrong for a tenant that is and was there, unless it says what holds", () => {
  const { judge } = changed(active("ten_a"), active("ten_b"));
  for (const code of ["unknown-host", "tenant-suspended", "no-route"])
    expect(judge(at(LATE), error(code))).toBe("wrong");
  expect(judge(at(LATE), error("node-unreachable"))).toBe("failed");
  expect(judge(at(LATE, "/other"), error("no-route"))).toBe("refused");
  const { judge: ofDeleted } = changed(active("ten_a"), null);
  expect(ofDeleted(at(100_100), error("unknown-host"))).toBe("refused");
  expect(ofDeleted(at(100_100), error("node-unreachable"))).toBe("moving");
  expect(ofDeleted(at(90_000), error("unknown-host"))).toBe("wrong");
});
