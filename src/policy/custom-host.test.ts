import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newHostToken, parseCustomHost, proofRecords } from "./custom-host.ts";
import { canonicalHost, parseHost } from "./host.ts";
import { parseSlug } from "./names.ts";

const BASES = ["causeway.example", "eu.causeway.example", "other.test"];
const hostOf = (text: string): string => {
  const parsed = parseCustomHost(text, BASES);
  return parsed.ok ? parsed.value : parsed.error;
};

describe("a host that a customer brings", () => {
  test.each([
    ["www.shop.example", "www.shop.example"],
    ["Shop.EXAMPLE", "shop.example"],
    ["shop.example.", "shop.example"],
    [" shop.example ", "shop.example"],
    ["xn--mnchen-3ya.example", "xn--mnchen-3ya.example"],
    ["München.example", "xn--mnchen-3ya.example"],
    // Decomposed, full-width, and with other scripts' dots: UTS 46 maps them all to one.
    ["mu\u0308nchen.example", "xn--mnchen-3ya.example"],
    ["ｓｈｏｐ。example", "shop.example"],
    // Non-transitional, as browsers: not "strasse".
    ["straße.example", "xn--strae-oqa.example"],
    ["例え.テスト", "xn--r8jz45g.xn--zckzah"],
  ])("%s is %s", (text, host) => expect(hostOf(text)).toBe(host));

  test.each([
    ["", "not-a-host"],
    ["https://shop.example", "not-a-host"],
    ["shop.example:443", "not-a-host"],
    ["shop.example/path", "not-a-host"],
    ["user@shop.example", "not-a-host"],
    ["a%2eb.example", "not-a-host"],
    ["a b.example", "not-a-host"],
    ["a..example", "not-a-host"],
    ["_dmarc.shop.example", "not-a-host"],
    ["-a.example", "not-a-host"],
    [`${"a".repeat(64)}.example`, "not-a-host"],
    ["*.shop.example", "wildcard"],
    ["localhost", "single-label"],
    ["192.0.2.1", "address"],
    ["0x7f.1", "address"],
    ["2130706433", "address"],
    ["[2001:db8::1]", "address"],
    ["::1", "address"],
    ["causeway.example", "platform-domain"],
    ["acme.causeway.example", "platform-domain"],
    ["a.b.eu.Causeway.example.", "platform-domain"],
    [Array.from({ length: 4 }, () => "a".repeat(61)).join("."), "too-long"],
  ])("%s is refused: %s", (text, problem) => expect(hostOf(text)).toBe(problem));

  test("below a name that only ends like a base domain is fine", () => {
    expect(hostOf("shop.notcauseway.example")).toBe("shop.notcauseway.example");
  });

  test("is, whatever was typed, what the edge makes of the same host", () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.webAuthority(), fc.string({ unit: "grapheme" })), (text) => {
        const parsed = parseCustomHost(text, BASES);
        if (!parsed.ok) return;
        expect(canonicalHost(parsed.value)).toBe(parsed.value);
        expect(parseHost(`${parsed.value.toUpperCase()}.:443`, ["causeway.example", ...BASES])).toEqual({
          kind: "custom",
          host: parsed.value,
        });
        expect(parseCustomHost(parsed.value, BASES)).toEqual(parsed);
      }),
    );
  });
});

describe("its proof", () => {
  test("is a name of its own below the base domain that no tenant can have", () => {
    const token = newHostToken((bytes) => bytes.fill(255));
    const { txt, cname } = proofRecords("www.shop.example", token, "causeway.example");
    expect(txt).toEqual({ type: "TXT", name: "_causeway.www.shop.example", value: `causeway-host=${token}` });
    expect(cname).toMatchObject({ type: "CNAME", name: "www.shop.example" });
    const label = cname.value.slice(0, cname.value.indexOf("."));
    expect(label.length).toBeLessThanOrEqual(63);
    expect(parseSlug(label).ok).toBe(false);
    expect(parseHost(cname.value, ["causeway.example"]).kind).toBe("unknown");
  });

  test("has 40 characters of a DNS label, any of which may come", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), (given) => {
        expect(newHostToken((bytes) => bytes.set(given))).toMatch(/^[a-z2-7]{40}$/);
      }),
    );
  });
});
