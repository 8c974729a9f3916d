import { z } from "zod";
import { parseNetwork } from "./network.ts";

/**
 * What an operator decides about a tenant's visitors, beside its routes: published with the directory record, so the edge needs to ask nobody.
 * Everything is optional; what is absent or null is not restricted.
 */

/** `192.0.2.0/24`, `2001:db8::/32`, or one address. */
const network = z
  .string()
  .max(64)
  .refine((text) => parseNetwork(text) !== null, "not an address or network, such as 192.0.2.0/24");
/** ISO 3166-1, two letters; `T1` and `XX` are Cloudflare's for Tor and unknown. */
const country = z.string().regex(/^[A-Z][A-Z0-9]$/, "a country in two capital letters");

/**
 * Where visitors may come from. What `deny` lists never gets in; where `allow` (or `allowCountries`) is there, only what it lists does. A
 * visitor whose address or country is not known fails every rule about it.
 */
export const networkRules = z.strictObject({
  allow: z.array(network).max(100).optional(),
  deny: z.array(network).max(100).optional(),
  allowCountries: z.array(country).max(250).optional(),
  denyCountries: z.array(country).max(250).optional(),
});
export type NetworkRules = z.infer<typeof networkRules>;

/** `*`, or exactly what a browser sends as Origin: scheme, host, port if it is not the scheme's. No wildcards within. */
const origin = z
  .string()
  .max(300)
  .refine(
    (text) =>
      text === "*" ||
      (/^https?:\/\//.test(text) && !text.includes("*") && URL.canParse(text) && new URL(text).origin === text),
    "an origin such as https://app.example.com, or *",
  );
const fieldName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/, "the name of a header");

/** Who may read answers from another origin's page, said by the edge alone: what a service says about it is replaced. */
export const corsPolicy = z
  .strictObject({
    origins: z.array(origin).min(1).max(50),
    /** Cookies and Authorization may come along. */
    credentials: z.boolean().default(false),
    methods: z
      .array(z.string().regex(/^[A-Z]{1,20}$/, "a method in capital letters"))
      .min(1)
      .max(20)
      .default(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    /** Request headers beyond the simple ones; absent: those that the preflight asks for. */
    headers: z.array(fieldName).max(50).optional(),
    /** Answer's headers that the page may read. */
    exposeHeaders: z.array(fieldName).max(50).default([]),
    maxAgeSeconds: z.number().int().min(0).max(86_400).default(600),
  })
  .refine((cors) => !(cors.credentials && cors.origins.includes("*")), {
    message: "with credentials, name the origins: browsers refuse * then, and every site could act for your visitors",
    path: ["origins"],
  });
export type CorsPolicy = z.infer<typeof corsPolicy>;

/** Rates hold for each isolate of the edge, so they are a shield, not an account. */
export const trafficLimits = z.strictObject({
  /** Of all visitors together. */
  requestsPerSecond: z.number().int().min(1).max(100_000).optional(),
  /** Of one visitor: an address, or a network of 64 bits where it is IPv6. */
  visitorPerMinute: z.number().int().min(1).max(100_000).optional(),
  /** Of a request's body. */
  bodyBytes: z.number().int().min(0).max(1_099_511_627_776).optional(),
});
export type TrafficLimits = z.infer<typeof trafficLimits>;

/** While it is there, visitors get a page (503 `maintenance`) instead of the tenant. */
export const maintenance = z.strictObject({
  message: z.string().min(1).max(500).default("This site is being worked on. It will be back soon."),
  retryAfterSeconds: z.number().int().min(1).max(86_400).default(300),
  /** Who gets through all the same. */
  allow: z.array(network).max(20).default([]),
});

export type Maintenance = z.infer<typeof maintenance>;

/** PBKDF2-HMAC-SHA-256 of the tenant's visitor password. `id` changes with each new one: who got in by the old one is out. */
export const visitorPassword = z.strictObject({
  id: z.string().max(64),
  saltHex: z.string().regex(/^[0-9a-f]{32}$/),
  iterations: z.number().int().min(10_000).max(1_000_000),
  hashHex: z.string().regex(/^[0-9a-f]{64}$/),
});
export type VisitorPassword = z.infer<typeof visitorPassword>;

/** What a machine gets in by, in place of a person's session. */
export const serviceToken = z.strictObject({
  id: z.string().max(64),
  /** Of the whole token, hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Routes that it opens: prefixes of them, segment-aware; `/` for all. */
  prefixes: z.array(z.string().startsWith("/").max(255)).min(1).max(50),
  /** Whether it may change things: anything but GET, HEAD and OPTIONS. */
  write: z.boolean(),
  /** Null: never. */
  expiresAtSeconds: z.number().int().nullable(),
});
export type ServiceToken = z.infer<typeof serviceToken>;

/** What the operator sets; the rest of the policy comes from elsewhere. */
export const edgeRules = z.strictObject({
  network: networkRules.nullable().optional(),
  cors: corsPolicy.nullable().optional(),
  limits: trafficLimits.nullable().optional(),
  maintenance: maintenance.nullable().optional(),
  /** Adds HSTS (on https), nosniff, a referrer policy and SAMEORIGIN framing where the service says nothing. */
  securityHeaders: z.boolean().optional(),
});
export type EdgeRules = z.infer<typeof edgeRules>;

/** Its place in the directory record. */
export const edgePolicy = edgeRules.extend({
  password: visitorPassword.nullable().optional(),
  tokens: z.array(serviceToken).max(50).optional(),
});
export type EdgePolicy = z.infer<typeof edgePolicy>;
