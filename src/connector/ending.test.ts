import { expect, test } from "vitest";
import { CLOSE } from "../protocol/tunnel/close-codes.ts";
import { lossOfClose, lossOfNetwork, lossOfRefusal } from "./ending.ts";

const refusal = { detail: "", retryAfterMs: null, clockDifferenceMs: null };

test("401 and 403 are the credential's fault, 426 the version's, the rest may pass", () => {
  expect(lossOfRefusal({ ...refusal, status: 401 }).kind).toBe("auth");
  expect(lossOfRefusal({ ...refusal, status: 403, detail: "disabled" })).toEqual({
    kind: "auth",
    text: "the relay refused the credential: disabled (status 403)",
  });
  expect(lossOfRefusal({ ...refusal, status: 426 }).kind).toBe("version");
  for (const status of [200, 404, 500, 502, 503]) expect(lossOfRefusal({ ...refusal, status }).kind).toBe("retry");
  expect(lossOfRefusal({ ...refusal, status: 503, retryAfterMs: 5000 })).toMatchObject({ retryAfterMs: 5000 });
});

test("a wrong clock is named, since it looks like a wrong key", () => {
  const text = (clockDifferenceMs: number) => lossOfRefusal({ ...refusal, status: 401, clockDifferenceMs }).text;
  expect(text(120_000)).toContain("120 s behind");
  expect(text(-120_000)).toContain("120 s ahead");
  expect(text(5000)).not.toContain("clock");
});

test("close codes say what to do", () => {
  expect(lossOfClose(CLOSE.unauthorized, "").kind).toBe("auth");
  expect(lossOfClose(CLOSE.revoked, "disabled").kind).toBe("auth");
  expect(lossOfClose(CLOSE.replaced, "newer socket")).toEqual({ kind: "replaced", text: "newer socket" });
  expect(lossOfClose(CLOSE.version, "").kind).toBe("version");
  for (const code of [1000, 1001, 1006, 1011, 1012, CLOSE.timeout, CLOSE.overload, CLOSE.goneAway, CLOSE.internal]) {
    expect(lossOfClose(code, "").kind).toBe("retry");
  }
});

test("network faults retry and name what failed", () => {
  expect(lossOfNetwork({ fault: "tls", code: "CERT_HAS_EXPIRED", message: "expired" })).toEqual({
    kind: "retry",
    text: "the TLS connection to the relay failed: its certificate has expired (CERT_HAS_EXPIRED)",
    retryAfterMs: null,
  });
});
