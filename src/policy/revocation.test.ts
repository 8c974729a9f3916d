import * as fc from "fast-check";
import { expect, test } from "vitest";
import { SESSION_LIFETIME_SECONDS } from "../protocol/portal-rpc.ts";
import { isValidFor } from "./access.ts";
import { MAX_NOT_BEFORE, revokeSessions, withoutExpired } from "./revocation.ts";

const NOW = 1_800_000_000;
const valid = (
  access: Parameters<typeof revokeSessions>[0],
  sub: string,
  accessRevision: number,
  iat: number,
  now: number,
) =>
  isValidFor(
    { tenantId: "ten_1", ...access },
    { aud: "ten_1", sub, accessRevision, iat, exp: iat + SESSION_LIFETIME_SECONDS },
    now,
  );

test("everybody: the access revision rises, and the list of people is of no use any more", () => {
  expect(revokeSessions({ accessRevision: 3, notBefore: { ann: NOW } }, null, NOW)).toEqual({
    accessRevision: 4,
    notBefore: {},
  });
});

test("one person: the others' sessions stay, also for names that objects know", () => {
  for (const name of ["ann", "constructor", "toString"]) {
    const after = revokeSessions({ accessRevision: 3, notBefore: {} }, name, NOW);
    expect(valid(after, name, 3, NOW - 10, NOW)).toBe(false);
    expect(valid(after, name, 3, NOW + 1, NOW + 2)).toBe(true);
    expect(valid(after, "bob", 3, NOW - 10, NOW)).toBe(true);
  }
});

test("no session comes back, whatever is revoked later and whenever the list is shortened", () => {
  const account = fc.constantFrom("ann", "bob", "eve", "constructor");
  const call = fc.record({ who: fc.option(account), afterSeconds: fc.integer({ min: -100, max: 50_000 }) });
  fc.assert(
    fc.property(account, fc.array(call, { maxLength: 20 }), (who, calls) => {
      let access = revokeSessions({ accessRevision: 3, notBefore: {} }, who, NOW);
      let now = NOW;
      for (const next of calls) {
        now = Math.max(NOW, now + next.afterSeconds);
        access = revokeSessions(access, next.who, now);
        access = { ...access, notBefore: withoutExpired(access.notBefore, now) };
        expect(valid(access, who, 3, NOW, now)).toBe(false);
      }
    }),
  );
});

test("the list is bounded in time, and in length by ending everybody's", () => {
  expect(withoutExpired({ ann: NOW - SESSION_LIFETIME_SECONDS - 61, bob: NOW - 5 }, NOW)).toEqual({ bob: NOW - 5 });
  let access = { accessRevision: 1, notBefore: {} };
  for (let n = 0; n < MAX_NOT_BEFORE; n++) access = revokeSessions(access, `a${n}`, NOW);
  expect([access.accessRevision, Object.keys(access.notBefore)]).toEqual([1, expect.objectContaining({ length: 200 })]);
  expect(revokeSessions(access, "a0", NOW + 1).accessRevision).toBe(1);
  expect(revokeSessions(access, "one-more", NOW)).toEqual({ accessRevision: 2, notBefore: {} });
});
