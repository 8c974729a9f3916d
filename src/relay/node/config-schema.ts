import { z } from "zod";
import { canonicalHost } from "../../policy/host.ts";
import { NAME_PROBLEM_TEXT, parseSlug, parseTarget } from "../../policy/names.ts";
import { routeTimeouts } from "../../policy/record.ts";
import { tenantSettings } from "../../protocol/lane.ts";
import { publicJwk } from "../../protocol/jwk.ts";
import { DRAIN_SECONDS, DRAIN_SECONDS_MAX, MEMORY_BUDGET_MIB } from "./limits.ts";

/** The file of `causeway relay --config` as it is written (docs/relay.md). Unknown members are errors: a misspelt setting would do nothing. */

/** `127.0.0.1:8080`, `[::1]:8080`, or a port alone for 127.0.0.1. Port 0: any free one. */
const address = z.union([z.string(), z.number()]).transform((value, context) => {
  const [, v6, name, port] = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):)?([0-9]{1,5})$/.exec(String(value)) ?? [];
  if (port !== undefined && Number(port) <= 65_535) return { host: v6 ?? name ?? "127.0.0.1", port: Number(port) };
  context.addIssue({ code: "custom", message: "write an address as 127.0.0.1:8080" });
  return z.NEVER;
});

const host = z.string().transform((value, context) => {
  const canonical = value.includes(":") ? null : canonicalHost(value);
  if (canonical !== null) return canonical;
  context.addIssue({
    code: "custom",
    message: "this is not a host name: write it as shop.example.org, without scheme, port and path",
  });
  return z.NEVER;
});

const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'write 64 hexadecimal digits in lower case: printf %s "$SECRET" | sha256sum');
const moment = z
  .union([z.iso.datetime({ offset: true }), z.date()], "write a time as 2027-01-01T00:00:00Z")
  .transform((value) => new Date(value).getTime());
const fileName = z.string().min(1);
/** Of connectors, secrets and tokens. */
const plainName = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "use letters, digits, '.', '_' and '-', 64 at most");

const targetName = z
  .string()
  .refine((name) => parseTarget(name).ok, "this can't be the name of a target: use a-z, digits and single hyphens");
const slug = z.string().superRefine((name, context) => {
  const parsed = parseSlug(name);
  if (!parsed.ok) context.addIssue({ code: "custom", message: NAME_PROBLEM_TEXT[parsed.error] });
});

const access = z.enum(["public", "token"]);
const secretSource = z
  .strictObject({
    id: plainName.optional(),
    sha256: sha256.optional(),
    file: fileName.optional(),
    expiresAt: moment.optional(),
  })
  .refine((value) => (value.sha256 === undefined) !== (value.file === undefined), "give either sha256 or file");

const keyFile = z.strictObject({
  /** PEM of a public key, or a public JWK as JSON. */
  file: fileName,
  kid: z.string().min(1).max(64).optional(),
});
const keySource = z.union([publicJwk, keyFile], {
  error: ({ input }) => {
    if (typeof input !== "object" || input === null) return "write { file: site-1.pub.pem }, or a public key as JWK";
    if ("d" in input) return "this is a private key; give the public half only, without d";
    if ("kty" in input) return "write an Ed25519 or P-256 key as JWK: kty, crv, x, for P-256 also y, and kid";
    return undefined;
  },
});

const connector = z.strictObject({
  keys: z.array(keySource).max(8).default([]),
  secrets: z.array(secretSource).max(8).default([]),
  issuerSubject: z.string().max(255).optional(),
  targets: z.array(targetName).max(256).optional(),
  readOnly: z.boolean().default(false),
  expiresAt: moment.optional(),
  disabled: z.boolean().default(false),
  config: z.record(z.string(), z.unknown()).optional(),
});

const { limits, timeouts, disabled, waitForConnectorMs, keepAliveMs, reconnectMaxMs, tracing, issuers } =
  tenantSettings.shape;
const settings = z.strictObject({
  disabled,
  limits: limits.unwrap().strict().prefault({}),
  timeouts: timeouts.unwrap().strict().prefault({}),
  waitForConnectorMs,
  keepAliveMs,
  reconnectMaxMs,
  tracing,
  issuers,
});

const route = z.strictObject({
  prefix: z
    .string()
    .max(255)
    .regex(/^\/(?:.*[^/])?$/, "start with / and don't end with one"),
  target: targetName,
  access: access.optional(),
  timeouts: routeTimeouts.strict().optional(),
});

const tenant = z.strictObject({
  /** Default of its routes and targets. */
  access: access.default("public"),
  hosts: z.array(host).max(100).default([]),
  routes: z.array(route).max(200).default([]),
  targets: z.record(targetName, z.strictObject({ access: access.optional() })).default({}),
  connectors: z.record(plainName, connector).default({}),
  tokens: z.record(plainName, secretSource).default({}),
  settings: settings.prefault({}),
});

const listen = z.strictObject({ visitors: address, connectors: address.optional(), admin: address.optional() });
const peer = z.strictObject({ url: z.url({ protocol: /^https?$/ }), secretFile: fileName });
const lane = z.strictObject({ listen: listen.partial().optional(), peer: peer.optional() });

export const relayFile = z.strictObject({
  listen: listen.prefault({ visitors: "127.0.0.1:8080" }),
  tls: z.strictObject({ certificate: fileName, key: fileName }).optional(),
  baseDomains: z.array(host).min(1),
  /** How visitors and connectors reach this host where something else ends TLS in front of it. Default: as it listens. */
  publicScheme: z.enum(["http", "https"]).optional(),
  trustedAddressHeader: z
    .string()
    .regex(/^[A-Za-z0-9-]+$/, "write the name of a header, as x-forwarded-for")
    .optional(),
  engine: z.enum(["llhttp", "node"]).default("llhttp"),
  logLevel: z.enum(["debug", "info", "warn", "error"]).default("info"),
  accessLog: z.boolean().default(true),
  memoryBudgetMiB: z.number().int().min(4).max(4_096).default(MEMORY_BUDGET_MIB),
  drainSeconds: z.number().int().min(0).max(DRAIN_SECONDS_MAX).default(DRAIN_SECONDS),
  peer: peer.optional(),
  /** For two processes of one file (`--lane a`, `--lane b`): what differs. */
  lanes: z.strictObject({ a: lane, b: lane }).partial().default({}),
  tenants: z.record(slug, tenant).default({}),
});
export type RelayFile = z.output<typeof relayFile>;
export type TenantFile = RelayFile["tenants"][string];
