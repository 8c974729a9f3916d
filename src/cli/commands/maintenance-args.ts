import { CliError, EXIT } from "../frame/exit.ts";

/** What a maintenance page says, for a tenant, a cluster or the platform. */
export const maintenanceArgs = {
  switch: { type: "positional", required: true, description: "on or off" },
  message: { type: "string", description: "What the page says" },
  "retry-after": { type: "string", description: "Seconds after which programs may ask again", valueHint: "SECONDS" },
  allow: {
    type: "string",
    description: "Addresses or networks that get through, with commas",
    valueHint: "networks",
  },
} as const;

/** As the API takes it; null for "off". */
export function maintenanceOf(args: {
  readonly switch: string;
  readonly message?: string | undefined;
  readonly "retry-after"?: string | undefined;
  readonly allow?: string | undefined;
}): Record<string, unknown> | null {
  if (args.switch !== "on" && args.switch !== "off")
    throw new CliError(EXIT.usage, `"${args.switch}" is neither on nor off`);
  if (args.switch === "off") return null;
  const retryAfter = args["retry-after"];
  if (retryAfter !== undefined && !/^[0-9]{1,6}$/.test(retryAfter))
    throw new CliError(EXIT.usage, `--retry-after ${retryAfter}: a number of seconds`);
  return {
    ...(args.message !== undefined && { message: args.message }),
    ...(retryAfter !== undefined && { retryAfterSeconds: Number(retryAfter) }),
    ...(args.allow !== undefined && { allow: args.allow.split(",").map((text) => text.trim()) }),
  };
}
