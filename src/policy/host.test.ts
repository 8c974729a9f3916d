import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalHost, isLoopbackHost, parseBaseDomains, parseHost, isHostField } from "./host.ts";

const bases = parseBaseDomains("example.com, eu.example.com, plant.test");
const kindOf = (host: string | null) => parseHost(host, bases).kind;

describe("a Host header", () => {
  test.each([
    "acme.example.com",
    "ACME.Example.COM",
    "acme.example.com:8443",
    "acme.example.com.",
    "Acme.example.com.:80",
    "acme.example.com:",
  ])("%s is the tenant's (H11)", (host) => {
    expect(parseHost(host, bases)).toEqual({
      kind: "tenant",
      host: "acme.example.com",
      base: "example.com",
      slug: "acme",
    });
  });

  test("names that begin alike stay apart (H06)", () => {
    expect(parseHost("acme-2.example.com", bases)).toMatchObject({ kind: "tenant", slug: "acme-2" });
    expect(parseHost("acme.example.com", bases)).toMatchObject({ kind: "tenant", slug: "acme" });
  });

  test.each([
    "a.b.example.com",
    "x.acme.example.com",
    "www.example.com",
    "api.example.com",
    "ab.example.com",
    "1acme.example.com",
    "xn--acme-abc.example.com",
    "echo--.example.com",
    "--acme.example.com",
    "echo--ab.example.com",
    "a--b--acme.example.com",
    "relay.eu.example.com",
  ])("%s is below a base but no tenant's, never a part of it (H11)", (host) => {
    expect(["unknown", "malformed"]).toContain(kindOf(host));
  });

  test.each([
    null,
    "",
    ".",
    "acme..example.com",
    ".example.com",
    "acme.example.com..",
    "-acme.example.com",
    "acme-.example.com",
    "acme_1.example.com",
    "acme.example.com:99999",
    "acme.example.com:80a",
    "acme.example.com:80:80",
    "user@acme.example.com",
    "acme.example.com/evil",
    "acme.example.com ",
    "acme .example.com",
    "%61cme.example.com",
    "127.0.0.1",
    "127.0.0.1:8787",
    "0x7f.1",
    "2130706433",
    "[::1]:8787",
    "::1",
    `${"a".repeat(64)}.example.com`,
    `${"a.".repeat(130)}example.com`,
  ])("%j is no host", (host) => {
    expect(parseHost(host, bases)).toEqual({ kind: "malformed" });
  });

  test("the bare domains are the apex", () => {
    expect(parseHost("Example.com:443", bases)).toEqual({ kind: "apex", host: "example.com", base: "example.com" });
    expect(kindOf("eu.example.com")).toBe("apex");
  });

  test("a cluster's domain below another base has its own tenants (D12, G02, G03)", () => {
    expect(parseHost("acme.eu.example.com", bases)).toMatchObject({ kind: "tenant", base: "eu.example.com" });
    expect(parseHost("acme.plant.test", bases)).toMatchObject({ kind: "tenant", base: "plant.test" });
    expect(kindOf("acme.us.example.com")).toBe("unknown");
  });

  test("only the platform's own domain has the relay's host", () => {
    expect(parseHost("relay.example.com", bases)).toMatchObject({ kind: "relay" });
    expect(kindOf("relay.plant.test")).toBe("unknown");
  });

  test("a target's host names target and tenant", () => {
    expect(parseHost("Demo--Acme.example.com:80", bases)).toEqual({
      kind: "target",
      host: "demo--acme.example.com",
      base: "example.com",
      slug: "acme",
      target: "demo",
      tenantHost: "acme.example.com",
    });
  });

  test("other names may be a tenant's custom host", () => {
    expect(parseHost("shop.customer.org", bases)).toEqual({ kind: "custom", host: "shop.customer.org" });
    expect(kindOf("notexample.com")).toBe("custom");
    expect(kindOf("example.com.evil.org")).toBe("custom");
    expect(kindOf("localhost")).toBe("custom");
  });

  test("whatever arrives: a canonical host comes out, and it reads the same again", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.domain(), fc.webAuthority({ withPort: true })), (raw) => {
        const parsed = parseHost(raw, bases);
        if (parsed.kind === "malformed") return;
        expect(parsed.host).toMatch(/^[a-z0-9.-]+$/);
        expect(parsed.host.length).toBeLessThanOrEqual(253);
        expect(parseHost(parsed.host, bases)).toEqual(parsed);
      }),
    );
  });

  test("case, port and a trailing dot never change the answer", () => {
    const host = fc.constantFrom(
      "acme.example.com",
      "demo--acme.example.com",
      "a.b.example.com",
      "x.org",
      "example.com",
    );
    fc.assert(
      fc.property(host, fc.nat(65_535), fc.boolean(), fc.boolean(), (name, port, hasDot, isUpper) => {
        const raw = `${isUpper ? name.toUpperCase() : name}${hasDot ? "." : ""}:${port}`;
        expect(parseHost(raw, bases)).toEqual(parseHost(name, bases));
      }),
    );
  });
});

describe("base domains", () => {
  test("are cleaned, in order", () => {
    expect(parseBaseDomains(" Example.COM ,b.example.com,")).toEqual(["example.com", "b.example.com"]);
  });

  test.each(["", " , ", "exa mple.com", "example.com:80", "-x.com", "127.0.0.1"])("%j stops the start", (setting) => {
    expect(() => parseBaseDomains(setting)).toThrow(/base domain/);
  });
});

test.each<[string, boolean]>([
  ["localhost", true],
  ["acme.causeway.localhost", true],
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["[::1]", true],
  ["localhost.example.com", false],
  ["127.0.0.1.nip.io", false],
  ["10.0.0.1", false],
  ["0.0.0.0", false],
])("%s is loopback: %s", (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});

test("a canonical host is a fixed point", () => {
  fc.assert(
    fc.property(fc.domain(), (domain) => {
      const host = canonicalHost(domain);
      if (host !== null) expect(canonicalHost(host)).toBe(host);
    }),
  );
});

test.each(["acme.example", "ACME.example.:8787", "a_b.example", "127.0.0.1:", "[::1]:80", "-x-.example"])(
  "%s is a host field",
  (raw) => expect(isHostField(raw)).toBe(true),
);

test.each([
  "",
  ":80",
  "a,b",
  "a b",
  " a",
  "a/b",
  "a?",
  "a#",
  "a\\b",
  "u@a",
  "a%2eb",
  "\uff41cme.example",
  "a:1:2",
  "a:x",
  "a:65536",
  "[::1",
  "[x]",
  "a\n",
])("%j is no host field (H11)", (raw) => expect(isHostField(raw)).toBe(false));
