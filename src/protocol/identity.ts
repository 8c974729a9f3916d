import { z } from "zod";
import { roleName } from "./portal-rpc.ts";

/**
 * What the edge tells services and targets of a visitor that it let in by a session or a service token, or of the tenant's job that calls: a JWT (RFC 7519), EdDSA with Ed25519,
 * in the header `causeway-identity`. Its keys are at `/.causeway/jwks.json` of every tenant's host.
 */
export const IDENTITY_ISSUER = "causeway-edge-identity";

/** Renewed while a session goes on; short, because whoever sees the service's log sees it. */
export const IDENTITY_LIFETIME_SECONDS = 300;

export const identityClaims = z.object({
  iss: z.literal(IDENTITY_ISSUER),
  /** The tenant's id. */
  aud: z.string(),
  /** The account's id, the service token's (`svc_...`), or the background job's (`job_...`). */
  sub: z.string(),
  /** The tenant's slug and cluster. */
  tenant: z.string(),
  cluster: z.string(),
  kind: z.enum(["account", "service-token", "job"]),
  /** Of an account: null when it is no member. */
  role: roleName.nullable().optional(),
  email: z.string().optional(),
  iat: z.number(),
  exp: z.number(),
});
