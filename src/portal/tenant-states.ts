import type { TenantStatus } from "../protocol/tenants-rpc.ts";

/** A tenant's states and the steps on the way, for people. */
export const STATE_TEXTS: Readonly<Record<TenantStatus["state"], string>> = {
  provisioning: "being set up",
  active: "active",
  suspended: "suspended",
  failed: "could not be set up",
  deleting: "being deleted",
};

/** Steps of the provisioner; others are shown by their names. */
const STEP_TEXTS: Readonly<Record<string, string>> = {
  "reserve-host": "Address reserved",
  schema: "Database made",
  "choose-node": "Place chosen",
  push: "Services started",
  credentials: "Credentials made",
  publish: "Address published",
  activate: "Everything checked",
};
export const stepText = (name: string): string => STEP_TEXTS[name] ?? name;
