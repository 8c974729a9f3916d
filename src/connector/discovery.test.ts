import { expect, test } from "vitest";
import { defaultEndpoints, endpointsOf } from "./discovery.ts";

const relay = new URL("https://relay.example.com");

test("a document names endpoints and timings", () => {
  const found = endpointsOf(relay, {
    issuer: "https://relay.example.com",
    token_endpoint: "https://id.example.com/token",
    pairing_endpoint: "https://relay.example.com/pair-here",
    connect_endpoints: { a: "wss://a.example.com/connect/a", b: "https://b.example.com/connect/b" },
    keep_alive_ms: 15_000,
    reconnect_max_ms: 4_000,
  });
  expect(found).toMatchObject({ keepAliveMs: 15_000, reconnectMaxMs: 4_000 });
  expect(found.token.href).toBe("https://id.example.com/token");
  expect([found.connect.a.href, found.connect.b.href]).toEqual([
    "wss://a.example.com/connect/a",
    "wss://b.example.com/connect/b",
  ]);
});

test.each([
  undefined,
  null,
  "a page",
  {},
  { token_endpoint: "http://relay.example.com/token" }, // a secret never goes where it can be read
  { token_endpoint: "https://user:password@relay.example.com/token" },
  { token_endpoint: 7, connect_endpoints: { a: "ws://relay.example.com/connect/a", b: "javascript:1" } },
  { keep_alive_ms: -1, reconnect_max_ms: "soon" },
])("what %j lacks or has wrong takes its default", (document) => {
  expect(endpointsOf(relay, document)).toEqual(defaultEndpoints(relay));
});

test("a relay by plain http on this machine may name such endpoints", () => {
  const local = new URL("http://relay.causeway.localhost:8787");
  const { token, connect } = endpointsOf(local, { token_endpoint: "http://relay.causeway.localhost:8787/oauth" });
  expect([token.pathname, connect.a.href]).toEqual(["/oauth", "ws://relay.causeway.localhost:8787/connect/a"]);
});
