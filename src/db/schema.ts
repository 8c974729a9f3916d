/**
 * Control data, in the PostgreSQL schema `control`. The console writes what is wanted, the provisioner what has come of it. The edge,
 * the relay and the nodes never read it: they live on what the provisioner publishes to them (docs/storage.md).
 */
export { control, revisionCounter } from "./schema/columns.ts";
export * from "./schema/clusters.ts";
export * from "./schema/tenants.ts";
export * from "./schema/hosts.ts";
export * from "./schema/services.ts";
export * from "./schema/routes.ts";
export * from "./schema/connectors.ts";
export * from "./schema/relay.ts";
export * from "./schema/jobs.ts";
export * from "./schema/operations.ts";
export * from "./schema/api.ts";
