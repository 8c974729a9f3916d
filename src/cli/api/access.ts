import { CliError, EXIT } from "../frame/exit.ts";
import { findLocalStack } from "../local/local-json.ts";
import type { ApiAccess } from "./client.ts";

/** The flag that every command with the management API takes. The token has none: a command line is no place for a secret. */
export const apiArgs = {
  "api-url": {
    type: "string",
    description: "Management API (default: CAUSEWAY_API_URL, else the local stack)",
    valueHint: "url",
  },
} as const;

/** Flag, then environment, then the local stack's file. The stack's token is only ever sent to the stack. */
export function findAccess(flag: string | undefined, env: NodeJS.ProcessEnv, cwd: string): ApiAccess {
  const local = findLocalStack(env, cwd);
  const url = flag ?? env["CAUSEWAY_API_URL"] ?? local?.consoleUrl;
  if (url === undefined) {
    throw new CliError(
      EXIT.usage,
      "no management API is known",
      "Start the local stack (npx causeway up), or set CAUSEWAY_API_URL and CAUSEWAY_API_TOKEN.",
    );
  }
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new CliError(
      EXIT.usage,
      `"${url}" is not an http(s) URL`,
      "Give the console's base URL, for example http://127.0.0.1:8788.",
    );
  }
  const token = env["CAUSEWAY_API_TOKEN"] ?? (local !== null && url === local.consoleUrl ? local.apiToken : undefined);
  if (token === undefined || token === "") {
    throw new CliError(EXIT.authentication, `no token for ${url}`, "Set CAUSEWAY_API_TOKEN.");
  }
  return { url, token };
}
