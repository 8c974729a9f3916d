import { parseArgs } from "node:util";
import { runTenantsUnderLoad } from "../support/tenants-under-load.ts";

/**
 * node test/load/tenants.ts --requests 1000000 --seed 1 --connections 64 --tenants 50 --change-every 200
 *
 * Requests to tenants on the edge, directory and lanes on bare workerd, two Envoys as nodes, a service and a connector for each tenant, while
 * routes change, tenants are suspended and resumed, move, are deleted and made anew. The same seed asks the same in the same order. Prints
 * the counts as JSON, after SIGINT those of what was asked until then; exit code 1 when one answer can't be true (another tenant's, another
 * request's, or older than 10 s) or failed without a reason.
 */
const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
    connections: { type: "string", default: "64" },
    tenants: { type: "string", default: "50" },
    "change-every": { type: "string", default: "200" },
  },
});
const PROGRESS_EVERY = 10_000;
const stopping = new AbortController();
process.once("SIGINT", () => stopping.abort());

const report = await runTenantsUnderLoad({
  seed: Number(values.seed),
  requests: Number(values.requests),
  connections: Number(values.connections),
  tenants: Number(values.tenants),
  changeEveryMs: Number(values["change-every"]),
  progress: (asked, verdicts) => {
    if (asked % PROGRESS_EVERY === 0) process.stderr.write(`${asked} ${JSON.stringify(verdicts)}\n`);
  },
  stopping: stopping.signal,
});
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
process.exitCode = report.verdicts.wrong + report.verdicts.failed === 0 ? 0 : 1;
