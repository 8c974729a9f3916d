import { existsSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { CliError, EXIT } from "../frame/exit.ts";
import { findLocalStack } from "../local/local-json.ts";

/** Flags of the commands on one connector. */
export const nameArgs = {
  tenant: { type: "positional", required: true, description: "slug, or slug@cluster" },
  name: { type: "positional", required: true, description: "The connector's name, unique in the tenant" },
} as const;

/** Flags of the commands that write a credentials file. */
export const credentialsArgs = {
  out: {
    type: "string",
    description: "Credentials file to write, mode 0600 (default: TENANT-NAME.credentials.json here)",
    valueHint: "file",
  },
  "relay-url": {
    type: "string",
    description: "Where the connector will dial (default: CAUSEWAY_RELAY_URL, else the local stack's relay)",
    valueHint: "url",
  },
} as const;

/** Where the file goes and what it will say of the relay. Nothing is overwritten. */
export function credentialsTarget(
  args: { tenant: string; name: string; out?: string | undefined; "relay-url"?: string | undefined },
  apiUrl: string,
): { file: string; relayUrl: string } {
  const file = resolve(args.out ?? `${args.tenant}-${args.name}.credentials.json`.replaceAll("/", "_"));
  if (existsSync(file))
    throw new CliError(EXIT.refused, `${file} is there already`, "Nothing was changed. Name another file with --out.");
  const relayUrl = args["relay-url"] ?? process.env["CAUSEWAY_RELAY_URL"] ?? localRelayUrl(apiUrl);
  if (relayUrl === undefined || !URL.canParse(relayUrl))
    throw new CliError(EXIT.usage, "where is the relay?", "Give --relay-url, for example https://relay.example.com.");
  return { file, relayUrl };
}

/** The relay of the local stack, if that is the one that the API belongs to. */
function localRelayUrl(apiUrl: string): string | undefined {
  const local = findLocalStack(process.env, process.cwd());
  return local !== null && local.consoleUrl === apiUrl ? local.relayUrl : undefined;
}
