import { expect, test } from "vitest";
import { destinationOf, isPublicAddress, mayCall } from "./public-address.ts";

test.each([
  "http://example.com/",
  "ftp://example.com/",
  "https://user:pw@example.com/",
  "https://localhost/",
  "https://db.localhost./",
  "https://printer.local/",
  "https://metadata.google.internal/",
  "https://intranet/",
  "https://127.0.0.1/",
  "https://0x7f.1/",
  "https://2130706433/",
  "https://169.254.169.254/latest/meta-data",
  "https://10.1.2.3/",
  "https://100.64.0.1/",
  "https://[::1]/",
  "https://[::ffff:10.0.0.1]/",
  "https://[64:ff9b::a00:1]/",
  "https://[2002:a00:1::]/",
  "https://[fd00::1]/",
  "https://[fe80::1]/",
  "nonsense",
])("%s is refused", (url) => {
  expect(destinationOf(url, []).kind).toBe("refused");
});

test("public addresses may be called, public names when all of their addresses are public", () => {
  expect(destinationOf("https://93.184.216.34/hook", [])).toEqual({ kind: "allowed" });
  expect(destinationOf("https://[2606:4700::1111]/hook", [])).toEqual({ kind: "allowed" });
  expect(destinationOf("https://hooks.example.com./x", [])).toEqual({ kind: "resolve", name: "hooks.example.com" });
  expect(mayCall(["93.184.216.34", "2606:4700::1111"], [])).toBe(true);
  expect(mayCall(["93.184.216.34", "10.0.0.1"], [])).toBe(false);
  expect(mayCall([], [])).toBe(false);
});

test("what the operator allows is let through, and nothing beside it", () => {
  const allowed = ["erp.corp", "127.0.0.1:8080", "10.2.0.0/16"];
  expect(destinationOf("http://erp.corp/x", allowed).kind).toBe("allowed");
  expect(destinationOf("http://127.0.0.1:8080/x", allowed).kind).toBe("allowed");
  expect(destinationOf("http://127.0.0.1:8081/x", allowed).kind).toBe("refused");
  expect(destinationOf("https://10.2.3.4/", allowed).kind).toBe("allowed");
  expect(destinationOf("https://10.3.3.4/", allowed).kind).toBe("refused");
  expect(mayCall(["10.2.0.9"], allowed)).toBe(true);
});

test("what is no address is not public", () => {
  expect(isPublicAddress("example.com")).toBe(false);
});
