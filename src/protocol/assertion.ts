import { z } from "zod";

/**
 * How connectors and node agents show who they are when they dial: a JWT signed with their own key (the form of RFC 7523,
 * `private_key_jwt`), as `Authorization: Bearer <jwt>` of the WebSocket upgrade. The header names the key by `kid`. Never in the URL.
 */
export const connectorAssertion = z.object({
  /** `<slug>/<connector>` or `<slug>@<cluster>/<connector>`; iss and sub are equal. */
  iss: z.string().max(128),
  sub: z.string().max(128),
  /** The relay's URL as the connector knows it: scheme and host, no path. */
  aud: z.string().max(256),
  iat: z.number(),
  exp: z.number(),
  jti: z.string().min(8).max(64),
});
export type ConnectorAssertion = z.infer<typeof connectorAssertion>;

export const nodeAssertion = z.object({
  /** The node's id (nod_...); iss and sub are equal. */
  iss: z.string().max(64),
  sub: z.string().max(64),
  aud: z.string().max(256),
  iat: z.number(),
  exp: z.number(),
  jti: z.string().min(8).max(64),
});
export type NodeAssertion = z.infer<typeof nodeAssertion>;

/** An assertion lives this long at most; the verifier refuses longer ones. */
export const ASSERTION_LIFETIME_SECONDS = 60;
/** Clocks may differ by this much. */
export const ASSERTION_CLOCK_SKEW_SECONDS = 60;
