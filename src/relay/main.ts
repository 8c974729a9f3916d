/** The relay's process on Node, for the command line. The Workers' entries are durable/worker.ts and control-worker.ts. */
export { readRelayConfig } from "./node/config.ts";
export { freshRelay } from "./node/init.ts";
export { runRelay, type RunFailure } from "./node/run.ts";
