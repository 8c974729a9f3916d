import { expect, test } from "vitest";
import { networkError } from "./network-errors.ts";

const coded = (code: string) => Object.assign(new Error(code), { code });

test("errors are told apart as people look for them", () => {
  const faults = Object.fromEntries(
    [
      "ENOTFOUND",
      "ECONNREFUSED",
      "EHOSTUNREACH",
      "ETIMEDOUT",
      "UND_ERR_CONNECT_TIMEOUT",
      "CERT_HAS_EXPIRED",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "ERR_SSL_WRONG_VERSION_NUMBER",
      "ECONNRESET",
      "UND_ERR_SOCKET",
      "HPE_INVALID_CONSTANT",
    ].map((code) => [code, networkError(coded(code)).fault]),
  );
  expect(faults).toEqual({
    ENOTFOUND: "unresolved",
    ECONNREFUSED: "refused",
    EHOSTUNREACH: "refused",
    ETIMEDOUT: "timeout",
    UND_ERR_CONNECT_TIMEOUT: "timeout",
    CERT_HAS_EXPIRED: "tls",
    DEPTH_ZERO_SELF_SIGNED_CERT: "tls",
    ERR_TLS_CERT_ALTNAME_INVALID: "tls",
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: "tls",
    ERR_SSL_WRONG_VERSION_NUMBER: "tls",
    ECONNRESET: "reset",
    UND_ERR_SOCKET: "reset",
    HPE_INVALID_CONSTANT: "reset",
  });
});

test("one of many addresses speaks for all, a cause for its wrapper", () => {
  expect(networkError(new AggregateError([coded("ECONNREFUSED"), coded("ENETUNREACH")])).fault).toBe("refused");
  expect(networkError(new Error("fetch failed", { cause: coded("ENOTFOUND") })).fault).toBe("unresolved");
  expect(networkError("nonsense")).toEqual({ fault: "reset", code: "unknown", message: "nonsense" });
});
