import { expect, test } from "vitest";
import { createHostClaims } from "./host-claims.ts";

test("a host belongs to the first that claims it, until that one lets go", () => {
  const hosts = createHostClaims();
  expect(hosts.claim("a", ["X.example", "y.example"])).toBe(false);
  expect(hosts.claim("b", ["y.example", "z.example"])).toBe(false);
  expect([hosts.ownerOf("x.example"), hosts.ownerOf("y.example"), hosts.ownerOf("z.example")]).toEqual(["a", "a", "b"]);
  expect(hosts.claim("a", ["x.example"])).toBe(true);
  expect(hosts.ownerOf("y.example")).toBeUndefined();
  hosts.claim("b", ["y.example", "z.example"]);
  expect(hosts.ownerOf("y.example")).toBe("b");
  expect(hosts.claim("a", [])).toBe(true);
  expect(hosts.ownerOf("x.example")).toBeUndefined();
});

test("letting go of a host that another tenant has frees nothing", () => {
  const hosts = createHostClaims();
  hosts.claim("a", ["x"]);
  hosts.claim("b", ["x"]);
  expect(hosts.claim("b", [])).toBe(false);
  expect(hosts.ownerOf("x")).toBe("a");
});
