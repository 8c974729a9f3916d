import { describe, expect, it } from "vitest";
import { VISITORS_MAX } from "../limits.ts";
import { createRates, visitorKey } from "./rates.ts";

const limits = (change: Partial<Parameters<ReturnType<typeof createRates>["admit"]>[0]>) => ({
  concurrentRequests: null,
  requestsPerSecond: null,
  requestsPerSecondPerVisitor: null,
  bodyBytes: null,
  connectors: null,
  ...change,
});

describe("rates", () => {
  it("allow a burst of one second's requests and then as many a second, less than one included", () => {
    const rates = createRates();
    const slow = limits({ requestsPerSecond: 0.1 });
    expect(rates.admit(slow, null, 0)).toBeNull();
    expect([rates.admit(slow, null, 0), rates.admit(slow, null, 9_000)]).toEqual([10, 1]);
    expect(rates.admit(slow, null, 10_000)).toBeNull();

    let admitted = 0;
    const quick = createRates();
    for (let ms = 0; ms < 10_000; ms++)
      if (quick.admit(limits({ requestsPerSecond: 50 }), null, ms) === null) admitted += 1;
    expect(admitted).toBeGreaterThanOrEqual(545);
    expect(admitted).toBeLessThanOrEqual(550);
  });

  it("count nothing when one of the two says no", () => {
    const rates = createRates();
    const both = limits({ requestsPerSecond: 2, requestsPerSecondPerVisitor: 1 });
    expect([rates.admit(both, "a", 0), rates.admit(both, "a", 0), rates.admit(both, "b", 0)]).toEqual([null, 1, null]);
  });

  it("give nothing for a clock that goes back", () => {
    const rates = createRates();
    const one = limits({ requestsPerSecond: 1 });
    expect([rates.admit(one, null, 10_000), rates.admit(one, null, 0), rates.admit(one, null, 500)]).toEqual([
      null,
      1,
      1,
    ]);
  });

  it("remember a bounded number of visitors, and forget who was silent for longest", () => {
    const rates = createRates();
    const one = limits({ requestsPerSecondPerVisitor: 1 });
    expect([rates.admit(one, "first", 0), rates.admit(one, "second", 0)]).toEqual([null, null]);
    for (let i = 0; i < VISITORS_MAX - 1; i++) rates.admit(one, `visitor ${i}`, 0);
    expect([rates.admit(one, "second", 0), rates.admit(one, "first", 0)]).toEqual([1, null]);
  });
});

describe("a visitor", () => {
  it("is an IPv4 address, or the /64 of an IPv6 one", () => {
    const keys = [
      "192.0.2.1",
      "::ffff:192.0.2.1",
      "2001:db8:0:1::5",
      "2001:0DB8:0000:0001:ffff::1",
      "2001:db8::1",
      "::1",
    ];
    expect(keys.map(visitorKey)).toEqual([
      "192.0.2.1",
      "192.0.2.1",
      "2001:db8:0:1",
      "2001:db8:0:1",
      "2001:db8:0:0",
      "0:0:0:0",
    ]);
  });
});
