import { defineCommand } from "citty";
import { CliError, EXIT } from "../frame/exit.ts";
import { createOutput, table } from "../frame/output.ts";
import { leftovers, lockHolder, readLedger } from "../local/ledger.ts";
import { PACKAGE_ROOT, statePaths, stateDirToRead } from "../local/paths.ts";
import { listProcesses } from "../local/process-table.ts";
import { readStatus } from "../local/status-file.ts";
import { jsonArgs, stateArgs } from "./state.ts";

export default defineCommand({
  meta: { name: "status", description: "Show the local stack's parts; exit 1 when it is not running" },
  args: { ...stateArgs, ...jsonArgs },
  run({ args }) {
    const output = createOutput(args.json === true);
    const paths = statePaths(stateDirToRead(args["state-dir"], process.env, process.cwd()));
    const supervisor = lockHolder(paths.lock);
    const status = readStatus(paths.status);
    if (supervisor === null || status === null || status.pid !== supervisor.pid) {
      const left = leftovers(readLedger(paths.ledger), listProcesses(), [PACKAGE_ROOT, paths.dir]).length;
      throw new CliError(
        EXIT.failed,
        supervisor === null ? "the local stack is not running" : "the local stack is only beginning to start",
        left === 0
          ? "Start it: npx causeway up"
          : `A killed run left ${left} processes behind; npx causeway down ends them.`,
      );
    }
    if (output.json) {
      for (const part of status.parts) output.data(part, "");
      return;
    }
    const rows = status.parts.map((part) => [
      part.name,
      part.state,
      part.pid === null ? "-" : String(part.pid),
      String(part.restarts),
      part.since,
    ]);
    output.data({}, table(["PART", "STATE", "PID", "RESTARTS", "SINCE"], rows));
    output.say(`Supervisor: pid ${supervisor.pid}, ${status.ready ? "ready" : "starting"}. State: ${paths.dir}`);
  },
});
