import { z } from "zod";
import { CliError, EXIT } from "../frame/exit.ts";

/** `--drain SECONDS` of the commands that move tenants. */
export const drainArg = {
  drain: {
    type: "string",
    default: "30",
    description: "Requests and WebSockets that are open at the old node have so long, in seconds",
    valueHint: "SECONDS",
  },
} as const;

export function drainSecondsOf(text: string): number {
  const seconds = z.coerce.number().int().min(0).max(3600).safeParse(text);
  if (!seconds.success) throw new CliError(EXIT.usage, "--drain is a number of seconds from 0 to 3600");
  return seconds.data;
}
