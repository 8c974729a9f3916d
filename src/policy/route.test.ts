import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TenantRoute } from "./record.ts";
import { isUnderPrefix, matchRoute, redirectLocation, targetPath } from "./route.ts";

const service = (prefix: string): TenantRoute => ({
  prefix,
  access: "public",
  to: { kind: "service", service: prefix },
});
const routes = ["/app", "/app-frontend", "/manager", "/app/admin"].map(service);
const prefixOf = (path: string, of = routes): string => {
  const match = matchRoute(of, path);
  return match.kind === "route" ? match.route.prefix : match.kind;
};

describe("the route of a path", () => {
  test.each([
    ["/app", "/app"],
    ["/app/", "/app"],
    ["/app/x/y", "/app"],
    ["/app-frontend", "/app-frontend"],
    ["/app-frontend/x", "/app-frontend"],
    ["/app-front", "none"],
    ["/apple", "none"],
    ["/managerx", "none"],
    ["/manager", "/manager"],
    ["/app/admin", "/app/admin"],
    ["/app/admin/x", "/app/admin"],
    ["/app/administrator", "/app"],
    ["/", "none"],
    ["/App", "none"],
  ])("%s belongs to %s (H31)", (path, expected) => {
    expect(prefixOf(path)).toBe(expected);
  });

  test("an exact route takes its own path only, by any spelling of it", () => {
    const to: TenantRoute["to"] = {
      kind: "redirect",
      location: "/app",
      status: 302,
      keepPath: false,
      keepQuery: false,
    };
    const of = [...routes, { prefix: "/", exact: true, access: "public", to } as const];
    expect(["/", "/nothing", "/app", "//"].map((path) => prefixOf(path, of))).toEqual([
      "/",
      "none",
      "/app",
      "ambiguous",
    ]);
    const deep = [{ prefix: "/old", exact: true, access: "public", to } as const];
    expect(["/old", "/old/", "/old/x"].map((path) => prefixOf(path, deep))).toEqual(["/old", "none", "none"]);
  });

  test("the root takes what nothing longer takes", () => {
    expect(prefixOf("/x", [...routes, service("/")])).toBe("/");
    expect(prefixOf("/app/x", [service("/"), ...routes])).toBe("/app");
  });

  test.each([
    ["/app", "/"],
    ["/app/", "/"],
    ["/app/x%20y/%E2%82%AC", "/x%20y/%E2%82%AC"],
    ["/app//x", "//x"],
  ])("the rest of %s is %s, still encoded", (path, rest) => {
    expect(matchRoute(routes, path)).toMatchObject({ kind: "route", rest });
  });

  test("a path goes unchanged when its encoding does not matter for the route (H13)", () => {
    for (const path of [
      "/app/a%2Fb",
      "/app/%61",
      "/app//x",
      "/app/a%5Cb",
      "/app/%252e%252e/x",
      "/app/caf%C3%A9",
      "/app/a;b=c",
    ]) {
      expect(prefixOf(path)).toBe("/app");
    }
  });

  test.each([
    "/app/../manager",
    "/app/./x",
    "/app/..",
    "/app/%2e%2e/manager",
    "/app/.%2E/manager",
    "/app/..%2fmanager",
    "/app/..%2Fmanager",
    "/app/..%5cmanager",
    "/app/..\\manager",
    "/app/x%00y",
    "/app/..;/manager",
    "/x/..%2fapp",
    "app",
    "*",
  ])("%s is refused (T14)", (path) => {
    expect(matchRoute(routes, path).kind).toBe("ambiguous");
  });

  test.each(["/%61pp/x", "/app%2Fx", "//app/x", "/\\app", "/app%2fadmin", "/app/%61dmin/x", "/app//admin"])(
    "%s is refused because a service may read another route into it (T14)",
    (path) => {
      expect(matchRoute([...routes, service("/")], path).kind).toBe("ambiguous");
    },
  );

  test.each([
    "/app;x",
    "/app;jsessionid=1/x",
    "/;/app",
    "/app;a/admin",
    "/app;a=%2F/admin",
    "/app%3Bx",
    "/app/admin;x",
    "/app;%2e%2e",
  ])("%s is refused because a service that cuts off path parameters reads another route into it (T14)", (path) => {
    expect(matchRoute([...routes, service("/")], path).kind).toBe("ambiguous");
  });

  test("no encoding of a protected path reaches a less specific route", () => {
    const guarded = [service("/"), service("/secret")];
    const encode = fc.func(fc.constantFrom("plain", "lower", "upper"));
    fc.assert(
      fc.property(encode, fc.string({ unit: fc.constantFrom(..."abc/.%2f\\".split("")) }), (choose, tail) => {
        const path = `/${Array.from("secret/", (character, at) => {
          const form = choose(at);
          if (form === "plain") return character;
          const hex = character.charCodeAt(0).toString(16);
          return `%${form === "upper" ? hex.toUpperCase() : hex}`;
        }).join("")}${tail}`;
        const match = matchRoute(guarded, path);
        if (match.kind === "route") expect(match.route.prefix).toBe("/secret");
      }),
    );
  });

  test("the match is the longest prefix at a segment's end, in any order of the routes", () => {
    const segment = fc.constantFrom("a", "b", "ab");
    const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join("/")}`);
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 8 }), path, (prefixes, wanted) => {
        const expected = prefixes
          .filter((prefix) => wanted === prefix || wanted.startsWith(`${prefix}/`))
          .sort((left, right) => right.length - left.length)[0];
        expect(prefixOf(wanted, prefixes.map(service))).toBe(expected ?? "none");
        expect(prefixOf(wanted, prefixes.toReversed().map(service))).toBe(expected ?? "none");
      }),
    );
  });
});

test("a prefix covers itself and what is below", () => {
  expect(isUnderPrefix("/app", "/app")).toBe(true);
  expect(isUnderPrefix("/app/", "/app")).toBe(true);
  expect(isUnderPrefix("/apps", "/app")).toBe(false);
  expect(isUnderPrefix("/anything", "/")).toBe(true);
});

describe("where a route leads", () => {
  const route = (prefix: string, rewrite?: string) => ({
    prefix,
    access: "public" as const,
    to: { kind: "target" as const, target: "plc" },
    ...(rewrite !== undefined && { rewrite: { prefix: rewrite } }),
  });

  test.each<[string | undefined, string, string]>([
    [undefined, "/a%2Fb", "/a%2Fb"],
    ["/", "/x/", "/x/"],
    ["/base", "/", "/base"],
    ["/base", "/x", "/base/x"],
    ["/plc", "//x", "/plc//x"],
  ])("a target's path with %s for the prefix and %s behind it is %s", (rewrite, rest, expected) => {
    expect(targetPath(route("/plc", rewrite), rest)).toBe(expected);
  });

  const origin = "https://acme.example.com";
  const to = { kind: "redirect", location: "/new", status: 302, keepPath: true, keepQuery: true } as const;
  test.each<[Partial<typeof to> | object, string, string, string]>([
    [{}, "/x%20y", "?q=%2B", `${origin}/new/x%20y?q=%2B`],
    [{}, "/", "", `${origin}/new`],
    [{ keepPath: false }, "/x", "?q", `${origin}/new?q`],
    [{ keepQuery: false }, "/x", "?q", `${origin}/new/x`],
    [{ location: "/" }, "//evil.example", "", `${origin}//evil.example`],
    [{ location: "https://other.example" }, "/x", "", "https://other.example/x"],
    [{ location: "https://other.example/a/" }, "/x", "", "https://other.example/a/x"],
    [{ location: "https://other.example" }, "/@evil.example", "", "https://other.example/@evil.example"],
  ])("%j, %s%s redirects to %s", (over, rest, query, expected) => {
    expect(redirectLocation({ ...to, ...over }, rest, query, origin)).toBe(expected);
  });
});
