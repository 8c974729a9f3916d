import { setTimeout as delay } from "node:timers/promises";
import { defineCommand } from "citty";
import { CliError, EXIT } from "../frame/exit.ts";
import { createOutput } from "../frame/output.ts";
import { DOWN_TIMEOUT_MS, PROCESS_POLL_MS } from "../limits.ts";
import { isAlive, lockHolder, signal } from "../local/ledger.ts";
import { statePaths, stateDirToRead } from "../local/paths.ts";
import { reapStack } from "../local/stack.ts";
import { stateArgs } from "./state.ts";

export default defineCommand({
  meta: { name: "down", description: "Stop the local stack; its data stays" },
  args: stateArgs,
  async run({ args }) {
    const output = createOutput(false);
    const paths = statePaths(stateDirToRead(args["state-dir"], process.env, process.cwd()));
    const supervisor = lockHolder(paths.lock);
    if (supervisor === null) {
      const reaped = await reapStack(paths);
      output.say(
        reaped === 0
          ? "The local stack is not running."
          : `The supervisor was gone; ended the ${reaped} processes that it had left behind.`,
      );
      return;
    }
    signal(supervisor.pid, "SIGTERM");
    const end = Date.now() + DOWN_TIMEOUT_MS;
    while (isAlive(supervisor)) {
      if (Date.now() > end) {
        throw new CliError(
          EXIT.failed,
          `the supervisor (pid ${supervisor.pid}) does not stop`,
          `End it with kill -9 ${supervisor.pid}, then run npx causeway down again for what it leaves behind.`,
        );
      }
      await delay(PROCESS_POLL_MS);
    }
    output.say("The local stack is stopped.");
  },
});
