/** autocannon in a process of its own: a load from standard input (JSON), its outcome to standard output (one line of JSON). */
import autocannon from "autocannon";
import { text } from "node:stream/consumers";
import { load as loadSchema, type LoadOutcome } from "./load-generator.ts";

const load = loadSchema.parse(JSON.parse(await text(process.stdin)));
const result = await autocannon({
  url: load.url,
  connections: load.connections,
  duration: load.seconds,
  headers: { ...load.headers },
  timeout: 5,
});
const failed = result.errors + result.timeouts + result.non2xx;
const outcome: LoadOutcome = {
  requests: result["2xx"] + result.non2xx,
  seconds: result.duration,
  p50Ms: result.latency.p50,
  p99Ms: result.latency.p99,
  failed,
};
process.stdout.write(`JSON ${JSON.stringify(outcome)}\n`);
