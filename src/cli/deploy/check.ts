import type { WorkerConfig } from "./config.ts";

/**
 * What is wrong with the Workers' configuration. `broken`: can't work anywhere. `missing`: fine for the local stack, but a real account
 * needs something else there first (docs/deploy.md).
 */
export interface Finding {
  readonly worker: string;
  readonly kind: "broken" | "missing";
  readonly message: string;
}

/** What can't work. `exported`: names that each Worker's bundle exports, by Worker. */
export function brokenIn(
  configs: readonly WorkerConfig[],
  exported: ReadonlyMap<string, ReadonlySet<string>>,
): Finding[] {
  const byName = new Map(configs.map((config) => [config.name, config]));
  const has = (script: string, name: string) => exported.get(script)?.has(name) === true;
  return configs.flatMap((config) => {
    const findings: Finding[] = [];
    const report: Report = (message) => findings.push({ worker: config.name, kind: "broken", message });
    checkBindings(config, byName, has, report);
    checkQueues(config, configs, report);
    return findings;
  });
}

/** What stands for something else in the local stack, and must be put in for a real account. */
export function missingIn(configs: readonly WorkerConfig[]): Finding[] {
  return configs.flatMap((config) => {
    const findings: Finding[] = [];
    checkPlaceholders(config, (message) => findings.push({ worker: config.name, kind: "missing", message }));
    return findings;
  });
}

type Report = (message: string) => void;

function checkBindings(
  config: WorkerConfig,
  byName: ReadonlyMap<string, WorkerConfig>,
  has: (script: string, name: string) => boolean,
  report: Report,
): void {
  for (const className of Object.keys(config.exports)) {
    if (!has(config.name, className)) report(`declares the class ${className}, but its code does not export it`);
  }
  for (const { name, class_name: className, script_name: scriptName = config.name } of config.durable_objects
    .bindings) {
    const owner = byName.get(scriptName);
    if (owner === undefined) report(`binding ${name}: there is no Worker ${scriptName}`);
    else if (owner.exports[className]?.type !== "durable-object") {
      report(`binding ${name}: ${scriptName} declares no Durable Object class ${className}`);
    }
  }
  for (const { binding, service, entrypoint = "default" } of config.services) {
    if (!byName.has(service)) report(`binding ${binding}: there is no Worker ${service}`);
    else if (!has(service, entrypoint)) report(`binding ${binding}: ${service} exports no ${entrypoint}`);
  }
}

function checkQueues(config: WorkerConfig, configs: readonly WorkerConfig[], report: Report): void {
  const consumed = new Set(configs.flatMap((other) => other.queues.consumers.map(({ queue }) => queue)));
  const produced = new Set(
    configs.flatMap((other) => [
      ...other.queues.producers.map(({ queue }) => queue),
      ...other.queues.consumers.flatMap(({ dead_letter_queue: dead }) => dead ?? []),
    ]),
  );
  for (const { binding, queue } of config.queues.producers) {
    if (!consumed.has(queue)) report(`binding ${binding}: nobody consumes the queue ${queue}`);
  }
  for (const { queue, dead_letter_queue: dead } of config.queues.consumers) {
    if (!produced.has(queue)) report(`consumes the queue ${queue}, into which nobody sends`);
    if (dead !== undefined && !consumed.has(dead)) report(`nobody consumes the dead letters of ${queue} (${dead})`);
  }
}

/** Ids of Cloudflare are 32 hexadecimal digits; the local stack has names in their place. */
const CLOUDFLARE_ID = /^[0-9a-f]{32}$/;
/** Workers that visitors, connectors or operators reach by a route of their own. */
const NEEDS_ROUTES = new Set([
  "causeway-edge",
  "causeway-console",
  "causeway-relay-a",
  "causeway-relay-b",
  "causeway-relay-control",
]);

function checkPlaceholders(config: WorkerConfig, report: Report): void {
  for (const { binding, id } of config.kv_namespaces) {
    if (id === undefined || !CLOUDFLARE_ID.test(id)) report(`KV namespace ${binding}: put in its id`);
  }
  for (const { binding, id } of config.hyperdrive) {
    if (!CLOUDFLARE_ID.test(id)) report(`Hyperdrive ${binding}: put in its id`);
  }
  for (const [name, value] of Object.entries(config.vars)) {
    if (typeof value !== "string") continue;
    if (/(^|,)\s*[^,]*\.?localhost\b/.test(value)) report(`variable ${name}: put in your own domain`);
    if (name === "PUBLIC_SCHEME" && value !== "https") report("variable PUBLIC_SCHEME: https");
    if (name === "PUBLIC_PORT" && value !== "") report("variable PUBLIC_PORT: empty");
    // Without it all visitors count as one: the edge does not run then, and the lanes' limits of failed tries would hold for everybody together.
    if (name === "CLIENT_ADDRESS_HEADER" && value === "") report("variable CLIENT_ADDRESS_HEADER: cf-connecting-ip");
    if (name.endsWith("_PUBLIC_KEYS") && value === '{"keys":[]}') report(`variable ${name}: put in the public keys`);
  }
  if (NEEDS_ROUTES.has(config.name) && (config.routes ?? []).length === 0)
    report("no routes: put in the routes of your zone");
}
