import { z } from "zod";

/** What the Workers host runs: written by `causeway up` (mode 0600: it holds keys and passwords), read again at every restart of the host. */
export const workersConfig = z.object({
  edgePort: z.number().int(),
  consolePort: z.number().int(),
  buildDir: z.string(),
  persistDir: z.string(),
  /** By Worker's name: variables and secrets over those of its wrangler file, and databases by Hyperdrive binding. */
  workers: z.record(
    z.string(),
    z.object({ bindings: z.record(z.string(), z.string()), hyperdrives: z.record(z.string(), z.string()) }),
  ),
});
export type WorkersConfig = z.infer<typeof workersConfig>;

/** Message from the host to the supervisor: workerd runs (again) under this pid. */
export const workersMessage = z.object({ type: z.literal("workerd"), pid: z.number().int().positive() });
export type WorkersMessage = z.infer<typeof workersMessage>;
