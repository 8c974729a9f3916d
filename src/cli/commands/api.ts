import process from "node:process";
import { type Api, createApi } from "../api/client.ts";
import { apiArgs, findAccess } from "../api/access.ts";
import type { Operation } from "../api/types.ts";
import { waitForOperation } from "../api/wait.ts";
import { type Output, createOutput } from "../frame/output.ts";
import { jsonArgs } from "./state.ts";

/** The flags of every command that talks to the management API. */
export const commonArgs = { ...apiArgs, ...jsonArgs } as const;

export const waitArgs = {
  wait: { type: "boolean", description: "Wait for the operation's end and show its steps" },
} as const;

/** What such a command works with, by its flags and the environment. */
export function connectApi(args: { "api-url"?: string | undefined; json?: boolean | undefined }): {
  api: Api;
  output: Output;
} {
  const api = createApi(findAccess(args["api-url"], process.env, process.cwd()));
  return { api, output: createOutput(args.json === true) };
}

/** With `wait` follows the operation to its end and says each step once; without, says how to follow it. */
export async function settle(api: Api, output: Output, started: Operation, wait: boolean): Promise<Operation> {
  if (!wait) {
    output.say(`Operation ${started.id} is under way. Follow it: npx causeway operation show ${started.id}`);
    return started;
  }
  const said = new Set<string>();
  return await waitForOperation(api, started.id, (now) => {
    for (const [at, step] of now.steps.entries()) {
      const line =
        step.state === "done" ? `✓ ${step.name}` : step.reason === null ? null : `… ${step.name}: ${step.reason}`;
      // Some operations have a step of one name twice.
      if (line === null || said.has(`${at} ${line}`)) continue;
      said.add(`${at} ${line}`);
      output.say(line);
    }
  });
}
