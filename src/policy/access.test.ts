import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decideAccess, targetAccess, type VisitorClaims } from "./access.ts";

const record = { tenantId: "ten_1", accessRevision: 3, notBefore: {} as Record<string, number> };
const claims: VisitorClaims = { aud: "ten_1", sub: "usr_1", accessRevision: 3, iat: 1_000, exp: 2_000 };
const decide = (over: Partial<VisitorClaims> | null, of = record, canSignIn = true) =>
  decideAccess("member", of, over === null ? null : { ...claims, ...over }, 1_500, canSignIn).kind;

describe("access to a route", () => {
  test("a public one is open to everybody", () => {
    expect(decideAccess("public", record, null, 1_500, false)).toEqual({ kind: "allow", accountId: null });
  });

  test("a member's session opens a member's route and names the account", () => {
    expect(decideAccess("member", record, claims, 1_500, true)).toEqual({ kind: "allow", accountId: "usr_1" });
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

test("a target's own host is as strict as the strictest route to it", () => {
  const route = (target: string, access: "public" | "member") => ({
    prefix: `/${target}-${access}`,
    access,
    to: { kind: "target" as const, target },
  });
  const routes = [route("plc", "public"), route("plc", "member"), route("wiki", "public")];
  expect(targetAccess({ routes }, "plc")).toBe("member");
  expect(targetAccess({ routes }, "wiki")).toBe("public");
  expect(targetAccess({ routes }, "other")).toBe("public");
});
