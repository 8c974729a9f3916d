import { parseArgs } from "node:util";
import { err, ok, type Result } from "../src/shared/result.ts";
import type { Settings } from "./core/types.ts";

export interface Options extends Settings {
  readonly scenario: string;
  /** Keys of the paths to measure; null: all. */
  readonly paths: readonly string[] | null;
  readonly json: boolean;
  readonly help: boolean;
}

const DEFAULTS = { repeats: 3, secondsPerSlot: 3, connections: [1, 64] };
/** One repeat of the shortest slot: shows that everything works, says nothing about speed. */
const QUICK = { repeats: 1, secondsPerSlot: 1 };
const CONNECTIONS_LIMIT = 1024; // beyond it the load generator's own descriptors are the limit

/** `scenarios` are the known names. The error is a sentence for the user. */
export function parseOptions(args: readonly string[], scenarios: readonly string[]): Result<Options, string> {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        repeats: { type: "string" },
        seconds: { type: "string" },
        connections: { type: "string" },
        paths: { type: "string" },
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
  const { values, positionals } = parsed;
  const scenario = positionals[0] ?? "all";
  if (positionals.length > 1) return err(`One scenario at most, not ${positionals.join(" ")}`);
  if (scenario !== "all" && !scenarios.includes(scenario))
    return err(`There is no scenario "${scenario}": take ${scenarios.join(", ")} or all`);
  const base = values.quick ? { ...DEFAULTS, ...QUICK } : DEFAULTS;
  const repeats = values.repeats === undefined ? base.repeats : whole(values.repeats, 100);
  if (repeats === null) return err("--repeats is a whole number from 1 to 100");
  const secondsPerSlot = values.seconds === undefined ? base.secondsPerSlot : whole(values.seconds, 600);
  if (secondsPerSlot === null) return err("--seconds is a whole number from 1 to 600");
  const given = values.connections?.split(",").map((text) => whole(text, CONNECTIONS_LIMIT)) ?? base.connections;
  const connections = given.filter((count) => count !== null);
  if (connections.length < given.length || connections.length === 0)
    return err(`--connections is a list of whole numbers from 1 to ${CONNECTIONS_LIMIT}, for example 1,64`);
  const ascending = [...new Set(connections)].sort((a, b) => a - b);
  const paths = values.paths?.split(",").map((key) => key.trim()) ?? null;
  return ok({ scenario, paths, repeats, secondsPerSlot, connections: ascending, json: values.json, help: values.help });
}

function whole(text: string, max: number): number | null {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  return value >= 1 && value <= max ? value : null;
}

export function helpText(scenarios: readonly { readonly name: string; readonly title: string }[]): string {
  return `Usage: npm run bench -- [scenario] [options]

Measures the product beside yardsticks in the same run: on bare workerd, on Node, and what else is on PATH (rathole, bore, frp, piko).

Scenarios (default: all; "relay" is all that begin with it)
${scenarios.map(({ name, title }) => `  ${name.padEnd(15)} ${title}`).join("\n")}

Options
  --repeats N        interleaved repeats of every slot (default ${DEFAULTS.repeats})
  --seconds N        length of a slot (default ${DEFAULTS.secondsPerSlot})
  --connections A,B  numbers of connections (default ${DEFAULTS.connections.join(",")})
  --paths A,B        only these paths of a scenario, by their keys in the table
  --quick            one repeat of one second: to see that it works, not how fast it is
  --json             the report as JSON instead of tables
  -h, --help         this text

The report is also written to bench/results/. Load comes from wrk if it is on PATH, else from autocannon. Envoy: ENVOY_BIN, PATH, or the
pinned wheel. docs/performance.md says how to read the numbers.
Exit codes: 0 ok, 1 failed (also when requests failed), 2 usage, 4 environment (Envoy or another program missing), 130 interrupted.
`;
}
