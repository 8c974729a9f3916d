import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isAdmitted, isInAny, parseNetwork, visitorKey } from "./network.ts";

describe("addresses and networks", () => {
  test.each<[string, string, boolean]>([
    ["192.0.2.7", "192.0.2.0/24", true],
    ["192.0.3.7", "192.0.2.0/24", false],
    ["192.0.2.7", "192.0.2.7", true],
    ["192.0.2.7", "0.0.0.0/0", true],
    ["2001:db8::1", "0.0.0.0/0", false],
    ["2001:db8::1", "2001:db8::/32", true],
    ["2001:DB8:0:0::1", "2001:db8::1", true],
    ["2001:db9::1", "2001:db8::/32", false],
    ["::ffff:192.0.2.7", "192.0.2.0/24", true],
    ["192.0.2.7", "::ffff:192.0.2.0/120", true],
    ["::1", "::/0", true],
  ])("%s in %s: %s", (address, network, expected) => {
    expect(isInAny(address, [network])).toBe(expected);
  });

  test.each([
    "",
    "192.0.2",
    "192.0.2.256",
    "192.0.02.1",
    "192.0.2.1/33",
    "1:2:3",
    "::1::2",
    "1:2:3:4:5:6:7:8:9",
    "x",
    "::/129",
    "1:2:3:4::5:6:7:8",
  ])("%j is none", (text) => {
    expect(parseNetwork(text)).toBeNull();
    expect(isInAny(text, ["0.0.0.0/0", "::/0"])).toBe(false);
  });

  test("an address is in a network when its first bits are the network's", () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), fc.integer({ min: 0, max: 32 }), (a, b, length) => {
        const bits = (ip: string) =>
          ip
            .split(".")
            .map((part) => Number(part).toString(2).padStart(8, "0"))
            .join("");
        expect(isInAny(a, [`${b}/${length}`])).toBe(bits(a).slice(0, length) === bits(b).slice(0, length));
      }),
    );
  });

  test("every IPv6 address is in its own networks, however it is written", () => {
    fc.assert(
      fc.property(fc.ipV6(), fc.integer({ min: 0, max: 128 }), (ip, length) => {
        if (parseNetwork(ip)?.family !== 6) return;
        expect(isInAny(ip, [`${ip}/${length}`])).toBe(true);
      }),
    );
  });

  test("one visitor is an IPv4 address, or 64 bits of IPv6", () => {
    expect(visitorKey("2001:db8:1:2::1")).toBe(visitorKey("2001:db8:1:2:ffff::9"));
    expect(visitorKey("2001:db8:1:2::1")).not.toBe(visitorKey("2001:db8:1:3::1"));
    expect(visitorKey("192.0.2.1")).not.toBe(visitorKey("192.0.2.2"));
    expect(visitorKey(null)).toBe("unknown");
  });
});

describe("who is admitted", () => {
  const from = (address: string | null, country: string | null) => ({ address, country });
  test("deny beats allow; both a network and a country are wanted where both are said", () => {
    const rules = { allow: ["192.0.2.0/24"], deny: ["192.0.2.66"], allowCountries: ["DE", "AT"] };
    expect(isAdmitted(rules, from("192.0.2.1", "DE"))).toBe(true);
    expect(isAdmitted(rules, from("192.0.2.66", "DE"))).toBe(false);
    expect(isAdmitted(rules, from("192.0.2.1", "FR"))).toBe(false);
    expect(isAdmitted(rules, from("198.51.100.1", "DE"))).toBe(false);
    expect(isAdmitted({}, from(null, null))).toBe(true);
  });

  test("what is not known fails every rule about it", () => {
    for (const rules of [{ allow: ["0.0.0.0/0", "::/0"] }, { deny: ["192.0.2.1"] }])
      expect(isAdmitted(rules, from(null, "DE"))).toBe(false);
    for (const rules of [{ allowCountries: ["DE"] }, { denyCountries: ["FR"] }])
      expect(isAdmitted(rules, from("192.0.2.9", null))).toBe(false);
  });
});
