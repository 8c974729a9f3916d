import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rewriteForVisitor } from "./locations.ts";

type Mode = "off" | "origin" | "all";
const rewrite = (
  field: [string, string],
  how: {
    url?: string;
    mode?: Mode;
    prefix?: string;
    stripPrefix?: string;
    host?: string | null;
    /** What the target is told to be. */
    named?: string;
  } = {},
): string | undefined => {
  const { url = "http://10.0.0.5:3000/", mode = "origin", prefix, stripPrefix = null, named = "target" } = how;
  const { host = "v.example:8443" } = how;
  const request: [string, string][] =
    host === null
      ? []
      : [
          ["X-Forwarded-Proto", "https"],
          ["X-Forwarded-Host", host],
        ];
  if (prefix !== undefined) request.push(["X-Forwarded-Prefix", prefix]);
  const place = { url: new URL(url), rewriteLocations: mode, stripPrefix, host: named };
  return rewriteForVisitor(place, request, [["X-A", "1"], field])[1]?.[1];
};

describe("a Location", () => {
  const location = (value: string, how: Parameters<typeof rewrite>[1] = {}) => rewrite(["Location", value], how);

  test("of the target's own origin comes out at the visitor's host", () => {
    expect(location("http://10.0.0.5:3000/login?a=%2F#b")).toBe("https://v.example:8443/login?a=%2F#b");
    expect(location("HTTP://10.0.0.5:3000")).toBe("https://v.example:8443/");
    expect(location("//10.0.0.5:3000/x")).toBe("https://v.example:8443/x");
    expect(location("http://10.0.0.5/x", { url: "http://10.0.0.5:80/" })).toBe("https://v.example:8443/x");
    expect(location("http://10.0.0.5:3000/x", { prefix: "/plant/" })).toBe("https://v.example:8443/plant/x");
    expect(location("http://10.0.0.5:3000/web/x", { url: "http://10.0.0.5:3000/web" })).toBe(
      "https://v.example:8443/x",
    );
    expect(location("http://10.0.0.5:3000/x", { stripPrefix: "/p", prefix: "/q" })).toBe(
      "https://v.example:8443/q/p/x",
    );
    expect(location("http://10.0.0.5:3000/x", { host: null })).toBe("/x");
  });

  test("of the name that the target was asked by comes out at the visitor's host as well", () => {
    const named = { named: "erp.example" };
    expect(location("http://erp.example/login", named)).toBe("https://v.example:8443/login");
    expect(location("http://ERP.example:80/login", { ...named, prefix: "/plant" })).toBe(
      "https://v.example:8443/plant/login",
    );
    expect(location("https://erp.example/login", named)).toBe("https://erp.example/login");
    expect(location("http://erp.example.evil.example/", named)).toBe("http://erp.example.evil.example/");
    expect(location("http://erp.example/login")).toBe("http://erp.example/login");
    // The visitor's own name: an application that knows no TLS in front of it, and no path.
    const preserved = { named: "preserve" };
    expect(location("http://v.example:8443/login", preserved)).toBe("https://v.example:8443/login");
    expect(location("http://v.example:8443/login", { ...preserved, prefix: "/plant" })).toBe(
      "https://v.example:8443/plant/login",
    );
    expect(location("http://v.example:8443/plant/login", { ...preserved, prefix: "/plant" })).toBe(
      "https://v.example:8443/plant/login",
    );
    expect(location("https://v.example:8443/login", { ...preserved, prefix: "/plant" })).toBe(
      "https://v.example:8443/login",
    );
    expect(location("http://v.example:8443/login", { ...preserved, host: null })).toBe("http://v.example:8443/login");
  });

  test("of anything else, and one that can't be reached, stays as it is", () => {
    for (const value of [
      "https://10.0.0.5:3000/x",
      "http://10.0.0.5:3001/x",
      "http://10.0.0.5:3000@evil.example/x",
      "http://user@10.0.0.5:3000/x",
      "http://10.0.0.5:3000.evil.example/",
      "/login",
      "login",
      "",
    ])
      expect(location(value)).toBe(value);
    const outside = "http://10.0.0.5:3000/website";
    expect(location(outside, { url: "http://10.0.0.5:3000/web" })).toBe(outside);
    expect(location("http://10.0.0.5:3000/x", { mode: "off" })).toBe("http://10.0.0.5:3000/x");
  });

  test("never becomes another host", () => {
    expect(location("http://10.0.0.5:3000//evil.example", { host: null })).toBe("http://10.0.0.5:3000//evil.example");
    expect(location("http://10.0.0.5:3000//evil.example")).toBe("https://v.example:8443//evil.example");
    expect(location("/web//evil.example", { mode: "all", url: "http://10.0.0.5:3000/web" })).toBe("/web//evil.example");
  });

  test("without a host follows too, if all is to follow", () => {
    const all = { mode: "all" as const, url: "http://10.0.0.5:3000/web", prefix: "/plant" };
    expect(location("/web/login", all)).toBe("/plant/login");
    expect(location("/plant/web/login", all)).toBe("/plant/web/login");
    expect(location("/other", all)).toBe("/other");
    expect(location("relative", all)).toBe("relative");
  });
});

test("a backslash begins no other host", () => {
  for (const said of ["//10.0.0.5:3000\\", "//10.0.0.5:3000\\evil.example", "http://10.0.0.5:3000\\evil.example"]) {
    expect(rewrite(["Location", said], { url: "http://10.0.0.5:3000/", host: null })).toBe(said);
  }
});

test("whatever a target says, the result is what it said or leads to the visitor's host", () => {
  const part = fc.constantFrom(
    "http:",
    "https:",
    "//",
    "/",
    "\\",
    "@",
    "10.0.0.5:3000",
    "evil.example",
    "..",
    "?",
    "#",
    "web",
    "%2f",
    ":80",
    " ",
  );
  const visitor = "https://v.example:8443";
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), fc.constantFrom("origin" as const, "all" as const), (parts, mode) => {
      const said = parts.join("");
      for (const url of ["http://10.0.0.5:3000/", "http://10.0.0.5:3000/web"]) {
        for (const host of ["v.example:8443", null]) {
          const value = rewrite(["Location", said], { url, mode, host }) ?? "";
          if (value !== said) expect(new URL(value, visitor).origin).toBe(visitor);
        }
      }
    }),
    { numRuns: 2000 },
  );
});

describe("a cookie", () => {
  const cookie = (value: string, how: Parameters<typeof rewrite>[1] = {}) => rewrite(["Set-Cookie", value], how);

  test("loses a Domain that is the target's own", () => {
    const target = { url: "http://erp.local/" };
    expect(cookie("a=1; Domain=.ERP.local; Path=/; HttpOnly", target)).toBe("a=1; Path=/; HttpOnly");
    expect(cookie("a=1; Domain=erp.example; Path=/", { named: "erp.example:8080" })).toBe("a=1; Path=/");
    expect(cookie("a=1; Domain=v.example", { named: "preserve" })).toBe("a=1; Domain=v.example");
    expect(cookie("a=1; domain=local", target)).toBe("a=1; domain=local");
    expect(cookie("a=domain=erp.local; Secure", target)).toBe("a=domain=erp.local; Secure");
  });

  test("moves with the paths, if all is to follow", () => {
    const all = { mode: "all" as const, url: "http://erp.local/web", prefix: "/plant" };
    expect(cookie("a=1; path=/web/app", all)).toBe("a=1; Path=/plant/app");
    expect(cookie("a=1; Path=/", all)).toBe("a=1; Path=/plant");
    expect(cookie("a=1; Path=/plant/x", all)).toBe("a=1; Path=/plant/x");
    expect(cookie("a=1; Path=/else", all)).toBe("a=1; Path=/else");
    expect(cookie("a=1; Path=/web", { mode: "all", url: "http://erp.local/web" })).toBe("a=1; Path=/");
    expect(cookie("a=1; Path=/web")).toBe("a=1; Path=/web");
  });
});
