import { z } from "zod";
import { WORKERS, configPath } from "../workers/list.ts";

/** What the checks read of a wrangler file, as wrangler itself understands it. */
const workerConfig = z.looseObject({
  name: z.string(),
  main: z.string(),
  compatibility_date: z.string(),
  vars: z.record(z.string(), z.unknown()).default({}),
  routes: z.array(z.unknown()).optional(),
  exports: z.record(z.string(), z.looseObject({ type: z.string() })).default({}),
  secrets: z.looseObject({ required: z.array(z.string()).default([]) }).optional(),
  durable_objects: z.looseObject({
    bindings: z.array(z.looseObject({ name: z.string(), class_name: z.string(), script_name: z.string().optional() })),
  }),
  services: z
    .array(z.looseObject({ binding: z.string(), service: z.string(), entrypoint: z.string().optional() }))
    .default([]),
  kv_namespaces: z.array(z.looseObject({ binding: z.string(), id: z.string().optional() })).default([]),
  hyperdrive: z.array(z.looseObject({ binding: z.string(), id: z.string() })).default([]),
  queues: z.looseObject({
    producers: z.array(z.looseObject({ binding: z.string(), queue: z.string() })).default([]),
    consumers: z.array(z.looseObject({ queue: z.string(), dead_letter_queue: z.string().optional() })).default([]),
  }),
  triggers: z.looseObject({ crons: z.array(z.string()).optional() }).optional(),
});
export type WorkerConfig = z.infer<typeof workerConfig>;

export async function readConfigs(): Promise<WorkerConfig[]> {
  process.env["WRANGLER_LOG"] ??= "error";
  const { unstable_readConfig: read } = await import("wrangler");
  return WORKERS.map((worker) => workerConfig.parse(read({ config: configPath(worker) })));
}
