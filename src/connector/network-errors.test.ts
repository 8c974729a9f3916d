import { expect, test } from "vitest";
import { networkError, plainWords } from "./network-errors.ts";

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

test("people read our words, with the code, and the address or names that were told", () => {
  const words = (code: string, message: string) =>
    plainWords(networkError(Object.assign(new Error(message), { code })));
  expect(words("ENOTFOUND", "getaddrinfo ENOTFOUND relay.x")).toBe("this name is not known (ENOTFOUND)");
  expect(words("ECONNREFUSED", "connect ECONNREFUSED 10.0.0.1:443")).toBe(
    "nothing takes connections there (10.0.0.1:443, ECONNREFUSED)",
  );
  const openssl =
    "401D0A285F7F0000:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/x.c:77:\n";
  expect(words("ERR_SSL_WRONG_VERSION_NUMBER", openssl)).toBe(
    "it does not speak TLS on this port (ERR_SSL_WRONG_VERSION_NUMBER)",
  );
  expect(words("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "alert")).toContain("no version of TLS");
  expect(words("EPROTO", "write EPROTO: ssl3_get_record:wrong version number")).toContain("does not speak TLS");
  expect(words("DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate; if the root CA is installed")).toBe(
    "its certificate is not trusted here (DEPTH_ZERO_SELF_SIGNED_CERT)",
  );
  const altnames =
    "Hostname/IP does not match certificate's altnames: Host: a. is not in the cert's altnames: DNS:b, DNS:c";
  expect(words("ERR_TLS_CERT_ALTNAME_INVALID", altnames)).toBe(
    "its certificate is for another name (DNS:b, DNS:c, ERR_TLS_CERT_ALTNAME_INVALID)",
  );
  expect(words("ERR_SSL_BAD_ECPOINT", "40AD:error:00:bad ecpoint")).toBe(
    "the TLS handshake failed (ERR_SSL_BAD_ECPOINT)",
  );
  expect(words("timeout", "no answer within 10000 ms")).toBe("no answer within 10000 ms");
});
