import { z } from "zod";

/**
 * What the edge says to a lane about a visitor's request, in one header (`causeway-visit`, JSON): the request itself goes on as it came, and
 * the lane cleans it (policy/headers.ts) while it copies it into the tunnel anyway. A lane trusts it, since only the edge reaches lanes.
 */
export const laneVisit = z.object({
  requestId: z.string(),
  target: z.string(),
  /** What the edge cut off the path, "" for nothing: X-Forwarded-Prefix. */
  prefix: z.string(),
  /** Path and query for the target, still encoded. */
  path: z.string(),
  /** As the visitor typed it, with port. */
  host: z.string(),
  scheme: z.enum(["http", "https"]),
  clientAddress: z.string().nullable(),
  traceparent: z.string(),
  /** Cookies never cross the relay host, which all tenants share. */
  withoutCookies: z.boolean(),
  urgency: z.number().int().min(0).max(7),
  /** Of the route, in milliseconds; null: the tenant's or the lane's. */
  firstByteMs: z.number().nullable(),
  idleMs: z.number().nullable(),
  totalMs: z.number().nullable(),
  /** The visitor asked by `/trace/`: the answer names connector, instance, versions and timings. */
  trace: z.boolean(),
});
export type LaneVisit = z.infer<typeof laneVisit>;
