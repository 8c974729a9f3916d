import { existsSync } from "node:fs";
import process from "node:process";
import { defineCommand } from "citty";
import { CliError, EXIT } from "../frame/exit.ts";
import { withFailureRecord } from "../frame/failure.ts";
import { type Output, createOutput } from "../frame/output.ts";
import { startInBackground } from "../local/background.ts";
import { BASE_DOMAIN, UPSTREAM_KINDS, type UpstreamKind } from "../local/context.ts";
import { DEMO_TENANTS, membersOf } from "../local/demo.ts";
import { readJson } from "../local/files.ts";
import { runInForeground } from "../local/foreground.ts";
import { lockHolder } from "../local/ledger.ts";
import { type LocalStack, localStack } from "../local/local-json.ts";
import { type StatePaths, stateDirForUp, statePaths } from "../local/paths.ts";
import { readSecrets } from "../local/secrets.ts";
import { hostsLines, readySummary, withoutPassword } from "../local/summary.ts";
import { jsonArgs, stateArgs } from "./state.ts";

const DEFAULT_EDGE_PORT = 8787;

export default defineCommand({
  meta: {
    name: "up",
    description: "Start the local stack: Postgres, the Workers, two nodes, two tenants and a connected site",
  },
  args: {
    port: {
      type: "string",
      description: `Port of the edge; the console takes the next one (default: ${DEFAULT_EDGE_PORT})`,
      valueHint: "n",
    },
    detach: { type: "boolean", alias: "d", description: "Return when it is ready; it goes on in the background" },
    fresh: { type: "boolean", description: "Wipe the data of earlier starts first" },
    upstream: {
      type: "enum",
      options: [...UPSTREAM_KINDS],
      default: "process",
      description:
        "How Postgres, the nodes and the site run: as processes, or as containers of a compose project (needs Docker)",
    },
    hosts: { type: "boolean", description: "Only print lines for /etc/hosts and stop" },
    ...stateArgs,
    ...jsonArgs,
  },
  async run({ args }) {
    const output = createOutput(args.json === true);
    refuseOutsideClone();
    const paths = statePaths(stateDirForUp(args["state-dir"], process.env));
    if (args.hosts === true) {
      const slugs = readJson(paths.localJson, localStack)?.tenants.map((tenant) => tenant.slug);
      output.data(
        { lines: hostsLines(BASE_DOMAIN, slugs ?? DEMO_TENANTS).split("\n") },
        hostsLines(BASE_DOMAIN, slugs ?? DEMO_TENANTS),
      );
      return;
    }
    await withFailureRecord(output, async () => {
      const edgePort = parsePort(args.port);
      refuseSecondStart(paths);
      const options = { paths, edgePort, fresh: args.fresh === true, upstream: parseUpstream(args.upstream), output };
      const onReady = (stack: LocalStack) => printReady(output, stack, paths, args.detach === true);
      if (args.detach === true) await startInBackground(options, onReady);
      else await runInForeground(options, onReady);
    });
  },
});

function parseUpstream(text: string): UpstreamKind {
  const found = UPSTREAM_KINDS.find((kind) => kind === text);
  if (found !== undefined) return found;
  throw new CliError(EXIT.usage, `--upstream ${text}: there are ${UPSTREAM_KINDS.join(" and ")}`);
}

export function parsePort(text: string | undefined): number {
  if (text === undefined) return DEFAULT_EDGE_PORT;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_534) return port;
  throw new CliError(
    EXIT.usage,
    `--port ${text} is not a port`,
    "Give a number from 1 to 65534; the console takes the next one.",
  );
}

/** The bundled command line (dist/cli) has no Workers, migrations and demo services to run. */
function refuseOutsideClone(): void {
  if (existsSync(new URL("../local/workers-host.ts", import.meta.url))) return;
  throw new CliError(
    EXIT.environment,
    "the local stack runs from a clone of the repository, not from this bundle",
    "Clone the repository and run: npm ci && npm start",
  );
}

function refuseSecondStart(paths: StatePaths): void {
  const running = lockHolder(paths.lock);
  if (running === null) return;
  const stack = readJson(paths.localJson, localStack);
  throw new CliError(
    EXIT.refused,
    stack === null
      ? `the local stack is starting or stopping already (pid ${running.pid})`
      : `the local stack is running already (pid ${running.pid}): edge ${stack.edgeUrl}, console ${stack.consoleUrl}`,
    "npx causeway status shows it, npx causeway down stops it.",
  );
}

function printReady(output: Output, stack: LocalStack, paths: StatePaths, detached: boolean): void {
  const secrets = readSecrets(paths.secrets);
  const members = secrets === null ? [] : membersOf(secrets);
  // The API's token and the database's password stay in local.json: this output ends up in logs.
  const { apiToken: _token, databaseUrl, ...shown } = stack;
  output.data(
    {
      type: "ready",
      ...shown,
      databaseUrl: withoutPassword(databaseUrl),
      stateFile: paths.localJson,
      members,
      notice: "demo, not for production",
    },
    readySummary(stack, members, paths, { detached }),
  );
}
