import { z } from "zod";
import { readJson, writeJson } from "./files.ts";

/** What the supervisor says about its parts, for `causeway status`; written after every change. */
const statusFile = z.object({
  pid: z.number().int(),
  startedAtMs: z.number(),
  ready: z.boolean(),
  parts: z.array(
    z.object({
      name: z.string(),
      pid: z.number().int().nullable(),
      state: z.enum(["starting", "running", "restarting", "crash-loop", "stopping", "stopped"]),
      restarts: z.number().int(),
      since: z.string(),
    }),
  ),
});
export type StatusFile = z.infer<typeof statusFile>;

export const readStatus = (path: string): StatusFile | null => readJson(path, statusFile);
export const writeStatus = (path: string, status: StatusFile): void => writeJson(path, status);
