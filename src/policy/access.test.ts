import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RoleName } from "../protocol/portal-rpc.ts";
import { decideAccess, isOpen, judgeToken, requirementOf, targetRequirement, type VisitorClaims } from "./access.ts";
import type { AccessMode, RouteRoles } from "./record.ts";

const record = { tenantId: "ten_1", accessRevision: 3, notBefore: {} as Record<string, number> };
const claims: VisitorClaims = { aud: "ten_1", sub: "usr_1", accessRevision: 3, iat: 1_000, exp: 2_000 };
const visitor = { claims: null, knowsPassword: false, canSignIn: true, method: "GET" };
const to = { kind: "service", service: "app" } as const;
const wants = (access: AccessMode, roles?: RouteRoles) => requirementOf({ access, ...(roles && { roles }) });
const decide = (over: Partial<VisitorClaims> | null, of = record, canSignIn = true) =>
  decideAccess(
    wants("member"),
    of,
    { ...visitor, claims: over === null ? null : { ...claims, ...over }, canSignIn },
    1_500,
  ).kind;

describe("access to a route", () => {
  test("a public one is open to everybody", () => {
    expect(decideAccess(wants("public"), record, { ...visitor, canSignIn: false }, 1_500)).toEqual({
      kind: "allow",
      accountId: null,
      role: null,
    });
  });

  test("a member's session opens a member's route and names the account", () => {
    const member = { ...visitor, claims: { ...claims, role: "admin" as const } };
    expect(decideAccess(wants("member"), record, member, 1_500)).toEqual({
      kind: "allow",
      accountId: "usr_1",
      role: "admin",
    });
  });

  test("without a session a page is sent to sign-in, a program refused", () => {
    expect(decide(null)).toBe("sign-in");
    expect(decide(null, record, false)).toBe("refuse");
  });

  test.each<[string, Partial<VisitorClaims>]>([
    ["of another tenant (G05)", { aud: "ten_2" }],
    ["that is over", { exp: 1_500 }],
    ["from before everybody's sessions were ended", { accessRevision: 2 }],
  ])("a session %s is none", (_, over) => {
    expect(decide(over)).toBe("sign-in");
  });

  test("one person's sessions can be ended", () => {
    const ended = { ...record, notBefore: { usr_1: 1_200 } };
    expect(decide({ iat: 1_199 }, ended)).toBe("sign-in");
    expect(decide({ iat: 1_200 }, ended)).toBe("sign-in");
    expect(decide({ iat: 1_201 }, ended)).toBe("allow");
    expect(decide({ iat: 1_199, sub: "usr_2" }, ended)).toBe("allow");
  });

  test("names of object properties are no entries", () => {
    expect(decide({ sub: "constructor" })).toBe("allow");
    expect(decide({ sub: "__proto__" })).toBe("allow");
  });

  test("whatever the claims: allowed only for this tenant, in time, not revoked", () => {
    const number = fc.integer({ min: 0, max: 3_000 });
    fc.assert(
      fc.property(
        fc.constantFrom("ten_1", "ten_2"),
        number,
        number,
        number,
        number,
        number,
        (aud, accessRevision, iat, exp, recordRevision, notBefore) => {
          const of = { tenantId: "ten_1", accessRevision: recordRevision, notBefore: { usr_1: notBefore } };
          const isValid = aud === "ten_1" && accessRevision >= recordRevision && exp > 1_500 && iat > notBefore;
          expect(decide({ aud, accessRevision, iat, exp }, of)).toBe(isValid ? "allow" : "sign-in");
        },
      ),
    );
  });
});

type Kind = ReturnType<typeof decideAccess>["kind"];

/** What each mode says to: nobody, who knows the password, an account, both, a member. */
describe("the access modes", () => {
  test.each<[AccessMode, Kind[], Kind[]]>([
    ["public", ["allow", "allow", "allow", "allow", "allow"], ["allow", "allow", "allow", "allow", "allow"]],
    [
      "password",
      ["ask-password", "allow", "ask-password", "allow", "ask-password"],
      ["refuse", "allow", "refuse", "allow", "refuse"],
    ],
    ["sign-up", ["sign-in", "sign-in", "allow", "allow", "allow"], ["refuse", "refuse", "allow", "allow", "allow"]],
    [
      "sign-up-password",
      ["sign-in", "sign-in", "ask-password", "allow", "ask-password"],
      ["refuse", "refuse", "refuse", "allow", "refuse"],
    ],
    ["member", ["sign-in", "sign-in", "forbid", "forbid", "allow"], ["refuse", "refuse", "forbid", "forbid", "allow"]],
  ])("%s", (access, pages, programs) => {
    const stranger = { ...claims, role: null };
    const visitors = [
      {},
      { knowsPassword: true },
      { claims: stranger },
      { claims: stranger, knowsPassword: true },
      { claims: { ...claims, role: "viewer" as const } },
    ];
    const kinds = (canSignIn: boolean) =>
      visitors.map((over) => decideAccess(wants(access), record, { ...visitor, ...over, canSignIn }, 1_500).kind);
    expect([kinds(true), kinds(false)]).toEqual([pages, programs]);
  });

  test.each<[RouteRoles, string, RoleName[]]>([
    [{}, "DELETE", ["owner", "admin", "member", "viewer"]],
    [{ use: "admin" }, "GET", ["owner", "admin"]],
    [{ write: "member" }, "GET", ["owner", "admin", "member", "viewer"]],
    [{ write: "member" }, "POST", ["owner", "admin", "member"]],
    [{ use: "admin", write: "viewer" }, "POST", ["owner", "admin"]],
    [{ use: "viewer", write: "owner" }, "PUT", ["owner"]],
  ])("with roles %j, %s is for %j", (roles, method, expected) => {
    const allowed = (["owner", "admin", "member", "viewer"] as const).filter((role) => {
      const member = { ...visitor, claims: { ...claims, role }, method };
      return decideAccess(wants("member", roles), record, member, 1_500).kind === "allow";
    });
    expect(allowed).toEqual(expected);
  });

  test("a session from before roles were told has the least one", () => {
    const old = { ...visitor, claims };
    expect(decideAccess(wants("member"), record, old, 1_500)).toMatchObject({ kind: "allow", role: "viewer" });
    expect(decideAccess(wants("member", { use: "member" }), record, old, 1_500).kind).toBe("forbid");
  });
});

test("a target's own host wants all that any route to it wants", () => {
  const route = (target: string, access: AccessMode, roles?: RouteRoles) => ({
    prefix: `/${target}-${access}`,
    access,
    ...(roles && { roles }),
    to: { kind: "target" as const, target },
  });
  const routes = [
    route("plc", "public"),
    route("plc", "member", { write: "admin" }),
    route("plc", "password"),
    route("wiki", "public"),
    { prefix: "/plc", access: "member" as const, to },
  ];
  expect(targetRequirement(routes, "plc")).toEqual({ account: "member", password: true, use: null, write: "admin" });
  expect(isOpen(targetRequirement(routes, "wiki"))).toBe(true);
  expect(isOpen(targetRequirement(routes, "other"))).toBe(true);
});

test("a service token is good for the routes in its scope, for reading unless it may write, until it runs out", () => {
  const token = { id: "svc_1", sha256: "0".repeat(64), prefixes: ["/api", "/x"], write: false, expiresAtSeconds: 100 };
  const judge = (prefix: string, method = "GET", now = 50, over = {}) =>
    judgeToken({ ...token, ...over }, [prefix], method, now);
  expect(["/api", "/api/v1", "/apis", "/", "/x"].map((prefix) => judge(prefix))).toEqual([
    "good",
    "good",
    "forbidden",
    "forbidden",
    "good",
  ]);
  expect(["GET", "HEAD", "OPTIONS", "POST", "DELETE"].map((method) => judge("/x", method))).toEqual([
    "good",
    "good",
    "good",
    "forbidden",
    "forbidden",
  ]);
  expect(judge("/x", "POST", 50, { write: true })).toBe("good");
  expect([judge("/x", "GET", 99), judge("/x", "GET", 100)]).toEqual(["good", "expired"]);
  expect(judge("/anything", "GET", 50, { prefixes: ["/"] })).toBe("good");
});
