import { defineCommand } from "citty";
import { CliError, EXIT } from "../frame/exit.ts";
import { LOG_FOLLOW_POLL_MS, LOG_TAIL_LINES } from "../limits.ts";
import { followLogs, lastLines, logPath, loggedParts } from "../local/log-files.ts";
import { statePaths, stateDirToRead } from "../local/paths.ts";
import { stateArgs } from "./state.ts";

/** The Workers share one log; a line says whose it is. */
const WORKER_ROLES = ["edge", "portal", "console", "provisioner", "relay-a", "relay-b", "relay-control"];

export default defineCommand({
  meta: { name: "logs", description: "Show the last log lines of the local stack, of all parts or of one" },
  args: {
    part: {
      type: "positional",
      required: false,
      description: "A part (npx causeway status lists them) or a Worker's role",
    },
    follow: { type: "boolean", alias: "f", description: "Go on with new lines until interrupted" },
    ...stateArgs,
  },
  async run({ args }) {
    const paths = statePaths(stateDirToRead(args["state-dir"], process.env, process.cwd()));
    const known = loggedParts(paths.logs);
    const role =
      args.part !== undefined && !known.includes(args.part) && WORKER_ROLES.includes(args.part) ? args.part : null;
    const wanted = role === null ? args.part : "workers";
    if (wanted !== undefined && !known.includes(wanted)) {
      throw new CliError(
        EXIT.usage,
        `there is no log of a part "${wanted}"`,
        known.length === 0
          ? "Nothing was started here yet: npx causeway up"
          : `Logs: ${[...known, ...WORKER_ROLES].join(", ")}`,
      );
    }
    const parts = wanted === undefined ? known : [wanted];
    const print = (part: string, lines: readonly string[]) => {
      for (const line of lines) {
        if (role !== null && !isOf(role, line)) continue;
        process.stdout.write(parts.length === 1 ? `${line}\n` : `${part.padEnd(longest(parts))} | ${line}\n`);
      }
    };
    for (const part of parts) print(part, lastLines(logPath(paths.logs, part), LOG_TAIL_LINES));
    if (args.follow === true) await followLogs(paths.logs, parts, print, LOG_FOLLOW_POLL_MS, interrupted());
  },
});

/** Our log lines name their Worker in `part`, with or without our prefix. */
function isOf(role: string, line: string): boolean {
  return line.includes(`"part":"${role}"`) || line.includes(`"part":"causeway-${role}"`);
}

const longest = (names: readonly string[]): number => Math.max(...names.map((name) => name.length));

function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => controller.abort());
  return controller.signal;
}
