import * as fc from "fast-check";
import { expect, test } from "vitest";
import { signPassedOn, verifyPassedOn } from "./peer-proof.ts";

const secret = Buffer.from("a secret that both processes hold");
const about = { method: "GET", host: "demo--acme.example.com", path: "/x?y=1" };
const passedOn = { requestId: "req_1", traceparent: "00-1-2-00", clientAddress: "192.0.2.1", scheme: "https" as const };

test("a proof is good for its request, its secret and its time", () => {
  const header = signPassedOn(passedOn, about, secret, 1_000);
  expect(verifyPassedOn(header, about, secret, 2_000)).toEqual(passedOn);
  expect(verifyPassedOn(header, { ...about, path: "/other" }, secret, 2_000)).toBeNull();
  expect(verifyPassedOn(header, { ...about, method: "POST" }, secret, 2_000)).toBeNull();
  expect(verifyPassedOn(header, { ...about, host: "x" }, secret, 2_000)).toBeNull();
  expect(verifyPassedOn(header, about, Buffer.from("another"), 2_000)).toBeNull();
  expect(verifyPassedOn(header, about, secret, 32_000)).toBeNull();
});

test("nothing else passes, and nothing throws", () => {
  const header = signPassedOn(passedOn, about, secret, 1_000);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: header.length - 1 }), fc.string({ maxLength: 3 }), (at, text) => {
      const changed = header.slice(0, at) + text + header.slice(at + 1);
      fc.pre(changed !== header);
      const found = verifyPassedOn(changed, about, secret, 1_000);
      // The last character of a base64 text has bits that say nothing.
      expect(found === null || at === header.length - 1).toBe(true);
    }),
  );
});
