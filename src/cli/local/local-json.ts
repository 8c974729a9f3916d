import { join } from "node:path";
import { z } from "zod";
import { readJson } from "./files.ts";
import { stateDirToRead } from "./paths.ts";

/** `.causeway/local.json`: how programs find a running local stack (docs/operations.md). Present exactly while the stack is ready. */
export const localStack = z.object({
  edgeUrl: z.string(),
  baseDomain: z.string(),
  consoleUrl: z.string(),
  relayUrl: z.string(),
  apiToken: z.string(),
  databaseUrl: z.string(),
  nodes: z.array(z.object({ name: z.string(), envoyUrl: z.string(), adminUrl: z.string() })),
  tenants: z.array(z.object({ slug: z.string(), host: z.string() })),
  connectors: z.array(z.object({ tenant: z.string(), name: z.string() })),
  pid: z.number().int(),
});
export type LocalStack = z.infer<typeof localStack>;

/** The running local stack that commands without flags mean, or null. */
export const findLocalStack = (env: NodeJS.ProcessEnv, cwd: string): LocalStack | null =>
  readJson(join(stateDirToRead(undefined, env, cwd), "local.json"), localStack);
