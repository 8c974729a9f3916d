/** Names of our own headers. Inbound request headers that start with `causeway-` are stripped at the edge (docs/protocol.md). */
export const HEADER = {
  /** Response: the code of an error that we made. Absent on a target's or service's own errors. */
  error: "causeway-error",
  /** Request and response: id of the request, made at the edge. */
  requestId: "causeway-request-id",
  /** Edge -> node's Envoy: the signed proof (proof.ts). */
  proof: "causeway-proof",
  /** Edge -> service, target: who the visitor is, signed (identity.ts)... */
  identity: "causeway-identity",
  /** ...and the same in plain words: an account's id, its address and role; a service token's id. */
  account: "causeway-account",
  email: "causeway-email",
  role: "causeway-role",
  serviceToken: "causeway-service-token",
  /** Edge -> service, target: the tenant's background job that calls (jobs.ts). */
  job: "causeway-job",
  /** Edge -> portal, master -> edge: the visitor's address; absent when it is not known. */
  clientAddress: "causeway-client-address",
  /** Master -> edge, beside the visitor's address: `http` or `https`, as the visitor asked. */
  clientScheme: "causeway-client-scheme",
  /** Response to `/trace/`: who answered. */
  trace: "causeway-trace",
  /** Edge -> lane: what it knows of the request (visit.ts). */
  visit: "causeway-visit",
  /** Lane -> edge: "1" when the lane refused before anything was started, so the other lane may be tried. Never leaves the edge. */
  refused: "causeway-refused",
} as const;
