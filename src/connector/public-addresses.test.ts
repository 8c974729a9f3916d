import { expect, test } from "vitest";
import { publicAddresses } from "./public-addresses.ts";

const at = (relay: string, tenant = "acme") => publicAddresses(new URL(relay), tenant, ["web", "*", "erp"]);

test("targets are found by tenant and base domain, with the relay's port", () => {
  expect(at("https://relay.example.com")).toEqual({
    web: "https://web--acme.example.com/",
    erp: "https://erp--acme.example.com/",
  });
  expect(at("http://relay.causeway.localhost:8080")["web"]).toBe("http://web--acme.causeway.localhost:8080/");
});

test("nothing is said where the base domain is not known", () => {
  expect([at("http://127.0.0.1:8080"), at("https://tunnel.example.com"), at("https://relay.x.com", "acme@eu")]).toEqual(
    [{}, {}, {}],
  );
});
