/** Names that the static part (listeners, filters) and the rendered part (scopes) of Envoy's configuration share. */

/** Envoy's scope key: the host of the verified proof. Inbound values are overwritten before routing, and services never see it. */
export const SCOPE_HEADER = "x-edge-scope";
/** The verified host again, taken as authority towards the service. Inbound values are removed. */
export const HOST_HEADER = "x-causeway-host";
/** The verified proof's tenant. A host's scope serves no other: the edge may know the tenant before for some seconds after a name was given anew. */
export const TENANT_HEADER = "x-edge-tenant";
/** Asks a scope for its revision; only on the probe listener, removed everywhere else. */
export const PROBE_HEADER = "x-edge-probe";

/** Name of the scoped routes that all listeners share: one subscription, one table. */
export const SCOPED_ROUTES = "tenants";
/** The filter that verifies proofs; its configuration comes from a file of its own, so keys change without touching a connection. */
export const PROOF_FILTER = "causeway.proof";

/** Set by the listener that took the request: it came from a master. Only open routes are there for it; inbound values are removed. */
export const VIA_HEADER = "x-edge-via";
