import { z } from "zod";

/** What the load child (child.ts) can be asked to do, as JSON on its standard input. One line of JSON comes back for each report. */
const reach = { host: z.string(), port: z.number(), authority: z.string() };

export const job = z.discriminatedUnion("kind", [
  /** Downloads or uploads on some connections for some seconds. `paceBytesPerSecond`: all together, null for as fast as it goes. */
  z.object({
    kind: z.enum(["download", "upload"]),
    ...reach,
    streams: z.number(),
    seconds: z.number(),
    paceBytesPerSecond: z.number().nullable(),
  }),
  /** Closed loop: every socket sends its next message when the last one came back. */
  z.object({
    kind: z.literal("websocket"),
    ...reach,
    sockets: z.number(),
    messageBytes: z.number(),
    seconds: z.number(),
  }),
  /** Event streams; the delay of each event from the origin's clock to ours. */
  z.object({ kind: z.literal("events"), ...reach, streams: z.number(), seconds: z.number() }),
  /** Asks for large answers and reads only the first bytes; reports how many began, then holds until standard input ends. */
  z.object({ kind: z.literal("stall"), ...reach, readers: z.number() }),
]);
export type Job = z.infer<typeof job>;

/** Of "download" and "upload". An upload's bytes are those that left this process; what arrived is the origin's to say. */
export const bulkOutcome = z.object({ bytes: z.number(), seconds: z.number(), failed: z.number() });
/** Of "websocket" and "events". */
export const delays = z.object({
  count: z.number(),
  seconds: z.number(),
  p50Ms: z.number(),
  p99Ms: z.number(),
  failed: z.number(),
});
/** Of "stall". */
export const stalled = z.object({ open: z.number() });
