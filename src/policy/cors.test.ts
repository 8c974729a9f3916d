import { describe, expect, test } from "vitest";
import { applyCors, isPreflight, preflightHeaders } from "./cors.ts";
import { corsPolicy } from "./edge-policy.ts";

const cors = corsPolicy.parse({
  origins: ["https://app.example.com"],
  credentials: true,
  methods: ["GET", "PUT"],
  headers: ["Content-Type", "x-api"],
  exposeHeaders: ["etag"],
});
const asking = (over: Record<string, string> = {}): Headers =>
  new Headers({
    origin: "https://app.example.com",
    "access-control-request-method": "PUT",
    "access-control-request-headers": "Content-Type, X-Api",
    ...over,
  });

describe("a preflight (H17)", () => {
  test("of an allowed origin learns what it may do", () => {
    expect(isPreflight("OPTIONS", asking())).toBe(true);
    expect(preflightHeaders(cors, asking())).toEqual({
      vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
      "access-control-allow-origin": "https://app.example.com",
      "access-control-allow-methods": "GET, PUT",
      "access-control-allow-headers": "content-type, x-api",
      "access-control-allow-credentials": "true",
      "access-control-max-age": "600",
    });
  });

  test.each<[string, Record<string, string>]>([
    ["another origin", { origin: "https://app.example.com.evil.example" }],
    ["an origin in another case or scheme", { origin: "http://app.example.com" }],
    ["null", { origin: "null" }],
    ["another method", { "access-control-request-method": "DELETE" }],
    ["another header", { "access-control-request-headers": "x-api, authorization" }],
  ])("%s gets nothing", (_, over) => {
    expect(Object.keys(preflightHeaders(cors, asking(over)))).toEqual(["vary"]);
  });

  test("where no headers are named, those that are asked for are allowed", () => {
    const open = corsPolicy.parse({ origins: ["*"] });
    expect(preflightHeaders(open, asking())).toMatchObject({
      "access-control-allow-origin": "*",
      "access-control-allow-headers": "content-type, x-api",
    });
    expect(preflightHeaders(open, asking())).not.toHaveProperty("access-control-allow-credentials");
  });
});

describe("an answer (H17)", () => {
  const service = () =>
    new Headers([
      ["access-control-allow-origin", "*"],
      ["access-control-allow-origin", "https://evil.example"],
      ["access-control-allow-credentials", "true"],
      ["access-control-allow-methods", "TRACE"],
      ["vary", "accept"],
    ]);

  test("says what the policy says, whatever the service said", () => {
    const headers = service();
    applyCors(headers, cors, "https://app.example.com");
    expect(Object.fromEntries(headers)).toEqual({
      "access-control-allow-origin": "https://app.example.com",
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": "etag",
      vary: "accept, Origin",
    });
  });

  test.each([null, "https://evil.example"])("to %s says nothing, but that it differs by origin", (origin) => {
    const headers = service();
    applyCors(headers, cors, origin);
    expect(Object.fromEntries(headers)).toEqual({ vary: "accept, Origin" });
  });
});

test("a policy of credentials for everybody, or of something that is no origin, is refused", () => {
  expect(corsPolicy.safeParse({ origins: ["*"], credentials: true }).success).toBe(false);
  for (const origin of ["https://a.example/", "a.example", "https://*.example.com", "https://A.example", "null"])
    expect(corsPolicy.safeParse({ origins: [origin] }).success).toBe(false);
  for (const origin of ["https://a.example", "http://localhost:5173", "*"])
    expect(corsPolicy.safeParse({ origins: [origin] }).success).toBe(true);
});
