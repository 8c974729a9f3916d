import { z } from "zod";

/** What the commands read of the management API's answers (docs/openapi.json has all of them). Unknown fields are kept for --json. */
export const operation = z.looseObject({
  id: z.string(),
  kind: z.string(),
  state: z.enum(["pending", "running", "succeeded", "failed"]),
  reason: z.string().nullable(),
  attempts: z.number(),
  deadLettered: z.boolean(),
  /** What it is about: a tenant, node, connector, ... */
  subjectId: z.string(),
  createdAt: z.string(),
  steps: z.array(
    z.looseObject({
      name: z.string(),
      state: z.enum(["pending", "running", "done", "failed"]),
      attempts: z.number(),
      reason: z.string().nullable(),
      startedAt: z.string().nullable(),
      finishedAt: z.string().nullable(),
    }),
  ),
});
export type Operation = z.infer<typeof operation>;

export const tenant = z.looseObject({
  id: z.string(),
  slug: z.string(),
  name: z.string(),
  cluster: z.string(),
  node: z.string().nullable(),
  state: z.string(),
  hosts: z.array(z.string()),
  createdAt: z.string(),
});

const dnsRecords = z.array(z.looseObject({ type: z.string(), name: z.string(), value: z.string() }));

export const tenantHost = z.looseObject({
  host: z.string(),
  kind: z.string(),
  state: z.string(),
  reason: z.string().nullable(),
  records: dnsRecords,
  front: z.looseObject({ state: z.string(), reason: z.string().nullable(), records: dnsRecords }).nullable(),
});
export type TenantHost = z.infer<typeof tenantHost>;

export const services = z.object({
  items: z.array(
    z.looseObject({
      name: z.string(),
      workspace: z.string(),
      driver: z.string(),
      protocol: z.string(),
      status: z.string(),
    }),
  ),
});

export const routes = z.object({
  items: z.array(
    z.looseObject({
      prefix: z.string(),
      exact: z.boolean().nullish(),
      access: z.string(),
      to: z.looseObject({
        kind: z.string(),
        service: z.string().optional(),
        target: z.string().optional(),
        location: z.string().optional(),
        status: z.number().optional(),
      }),
    }),
  ),
});

export const node = z.looseObject({
  id: z.string(),
  name: z.string(),
  role: z.string(),
  envoyUrl: z.string(),
  mastersAddress: z.string().nullable(),
  cluster: z.string(),
  state: z.string(),
  capacity: z.number(),
  tenants: z.number(),
  labels: z.record(z.string(), z.string()),
  enrolled: z.boolean(),
  online: z.boolean(),
});

export const connector = z.looseObject({
  id: z.string(),
  tenant: z.string(),
  name: z.string(),
  disabled: z.boolean(),
  targets: z.array(z.string()).nullable(),
  state: z.string(),
  instances: z.number(),
  credentials: z.object({ keys: z.number(), secrets: z.number(), issuerSubject: z.string().nullable() }),
  lastLoginAt: z.string().nullable(),
  lastSeenAt: z.string().nullable(),
});

/** Shown once, when it is made. */
export const shownSecret = z.looseObject({ id: z.string(), label: z.string(), secret: z.string() });

export const relay = z.looseObject({
  disabled: z.boolean(),
  limits: z.record(z.string(), z.number().nullable()),
  timeouts: z.record(z.string(), z.number().nullable()),
  pairingUntil: z.string().nullable(),
});

export const nodeEnrolment = z.looseObject({
  operation,
  node,
  enrolmentToken: z.string(),
  enrolmentExpiresAt: z.string(),
});
