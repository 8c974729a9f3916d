import { readFileSync } from "node:fs";
import { z } from "zod";
import { newId } from "../shared/ids.ts";
import { isLoopbackHost } from "../shared/localhost-lookup.node.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { readCredentials, type PrivateJwk } from "./credentials.ts";
import { isInstanceId, claimInstanceId } from "./instance.ts";
import { BACKOFF_CAP_MS, DRAIN_TIMEOUT_MS, TARGETS_MAX } from "./limits.ts";
import { parseTargetOption, type TargetConfig } from "./targets/target-config.ts";

export type Lane = "a" | "b";

/** All that a connector needs to run. */
export interface ConnectorConfig {
  /** Scheme and host of the relay; its path is not used. */
  readonly relayUrl: URL;
  /** `slug` or `slug@cluster`. */
  readonly tenant: string;
  readonly connector: string;
  readonly keyId: string;
  readonly privateKey: PrivateJwk;
  readonly targets: readonly TargetConfig[];
  /** Stable over restarts, different for each process. */
  readonly instanceId: string;
  readonly lanes: readonly Lane[];
  /** Certificates (PEM) that are trusted in addition to the machine's. */
  readonly ca: string | null;
  /** Open requests may finish for this long when it stops. Default 25 s. */
  readonly drainTimeoutMs: number;
  /** Longest pause between two dials. Default 8 s. */
  readonly backoffCapMs: number;
  /** Loopback port of /healthz, /readyz and /metrics; 0 = any free one; null = none. */
  readonly healthPort: number | null;
  /** Where HTTPS_PROXY and NO_PROXY are looked up. */
  readonly proxyEnv: Readonly<Record<string, string | undefined>>;
}

/** As typed: flags or CAUSEWAY_* variables. */
export interface ConnectorInput {
  readonly credentials?: string | undefined;
  readonly url?: string | undefined;
  readonly tenant?: string | undefined;
  readonly connector?: string | undefined;
  readonly targets: readonly string[];
  readonly instance?: string | undefined;
  readonly lanes?: string | undefined;
  readonly ca?: string | undefined;
  readonly healthPort?: string | undefined;
  readonly drainTimeout?: string | undefined;
  readonly reconnectMax?: string | undefined;
  readonly allowPlainHttp: boolean;
}

/** What is not said takes the value of `defaults`; targets are one setting. */
export function withDefaults(input: ConnectorInput, defaults: ConnectorInput): ConnectorInput {
  const said = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  return {
    ...defaults,
    ...said,
    targets: input.targets.length > 0 ? input.targets : defaults.targets,
    allowPlainHttp: input.allowPlainHttp || defaults.allowPlainHttp,
  };
}

/** Flags win over CAUSEWAY_* variables; the configuration file and the credentials file come last. */
export function withEnvironment(
  flags: ConnectorInput,
  env: Readonly<Record<string, string | undefined>>,
): ConnectorInput {
  const listed = (env["CAUSEWAY_TARGETS"] ?? "").split(/[\s,]+/).filter((text) => text !== "");
  return {
    credentials: flags.credentials ?? env["CAUSEWAY_CREDENTIALS"],
    url: flags.url ?? env["CAUSEWAY_RELAY_URL"],
    tenant: flags.tenant ?? env["CAUSEWAY_TENANT"],
    connector: flags.connector ?? env["CAUSEWAY_CONNECTOR"],
    targets: flags.targets.length > 0 ? flags.targets : listed,
    instance: flags.instance ?? env["CAUSEWAY_INSTANCE"],
    lanes: flags.lanes ?? env["CAUSEWAY_LANES"],
    ca: flags.ca ?? env["CAUSEWAY_CA"],
    healthPort: flags.healthPort ?? env["CAUSEWAY_HEALTH_PORT"],
    drainTimeout: flags.drainTimeout ?? env["CAUSEWAY_DRAIN_TIMEOUT"],
    reconnectMax: flags.reconnectMax ?? env["CAUSEWAY_RECONNECT_MAX"],
    allowPlainHttp: flags.allowPlainHttp || env["CAUSEWAY_ALLOW_PLAIN_HTTP"] === "1",
  };
}

export interface LoadedConfig {
  readonly config: ConnectorConfig;
  readonly warnings: readonly string[];
}

const connectorName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const tenantName = /^[a-z][a-z0-9-]{1,39}(?:@[a-z0-9][a-z0-9-]{0,39})?$/;
const LANES: Readonly<Record<string, readonly Lane[]>> = { a: ["a"], b: ["b"], both: ["a", "b"] };

/** Reads the files that are named and checks everything. Errors are sentences for people, without secrets. */
export function loadConfig(input: ConnectorInput, proxyEnv: ConnectorConfig["proxyEnv"]): Result<LoadedConfig, string> {
  const warnings: string[] = [];
  if (input.credentials === undefined)
    return err("say which credentials file: --credentials FILE, or credentials in the --config file");
  const read = readCredentials(input.credentials);
  if (!read.ok) return read;
  if (read.value.warning !== null) warnings.push(read.value.warning);
  const { credentials } = read.value;

  const relayUrl = parseRelayUrl(input.url ?? credentials.relayUrl, input.allowPlainHttp);
  if (!relayUrl.ok) return relayUrl;
  if (relayUrl.value.protocol === "http:" && !isLoopbackHost(relayUrl.value.hostname)) {
    warnings.push("the relay is reached by plain http: everything can be read and changed on the way");
  }
  const tenant = input.tenant ?? credentials.tenant;
  if (!tenantName.test(tenant)) return err(`"${tenant}" is not a tenant's name (slug or slug@cluster)`);
  const connector = input.connector ?? credentials.connector;
  if (!connectorName.test(connector)) return err(`"${connector}" is not a connector's name`);

  const targets = parseTargets(input.targets);
  if (!targets.ok) return targets;
  const lanes = LANES[input.lanes ?? "both"];
  if (lanes === undefined) return err("lanes are a, b or both");
  const healthPort = parseNumber("health port", input.healthPort, { min: 0, max: 65_535, whole: true });
  if (!healthPort.ok) return healthPort;
  const drainSeconds = parseNumber("drain timeout", input.drainTimeout, { min: 0, max: 3600, whole: false });
  if (!drainSeconds.ok) return drainSeconds;
  const reconnectSeconds = parseNumber("longest pause", input.reconnectMax, { min: 0.1, max: 3600, whole: false });
  if (!reconnectSeconds.ok) return reconnectSeconds;
  const ca = input.ca === undefined ? ok(null) : readCa(input.ca);
  if (!ca.ok) return ca;

  let instanceId = input.instance;
  if (instanceId !== undefined && !isInstanceId(instanceId)) return err(`"${instanceId}" is not an instance id`);
  if (instanceId === undefined) {
    const stored = claimInstanceId(`${input.credentials}.instance`, () => newId("con").slice(4));
    instanceId = stored.ok ? stored.value : stored.error.id;
    if (!stored.ok) warnings.push(stored.error.text);
  }

  const config: ConnectorConfig = {
    relayUrl: relayUrl.value,
    tenant,
    connector,
    keyId: credentials.keyId,
    privateKey: credentials.privateKey,
    targets: targets.value,
    instanceId,
    lanes,
    ca: ca.value,
    drainTimeoutMs: drainSeconds.value === null ? DRAIN_TIMEOUT_MS : drainSeconds.value * 1000,
    backoffCapMs: reconnectSeconds.value === null ? BACKOFF_CAP_MS : reconnectSeconds.value * 1000,
    healthPort: healthPort.value,
    proxyEnv,
  };
  return ok({ config, warnings });
}

/** https, or http to this machine; http to elsewhere only when it is allowed by name. */
export function parseRelayUrl(text: string, allowPlainHttp: boolean): Result<URL, string> {
  if (!URL.canParse(text)) return err("the relay's address is not a URL");
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") return err("the relay's URL must not hold a password");
  if (url.protocol === "https:") return ok(url);
  if (url.protocol !== "http:") return err("the relay's address must be an https URL");
  if (isLoopbackHost(url.hostname) || allowPlainHttp) return ok(url);
  return err("the relay's address must be https; for a closed test network there is --allow-plain-http");
}

export function parseTargets(options: readonly string[]): Result<TargetConfig[], string> {
  if (options.length === 0)
    return err("name at least one target: --target demo=http://127.0.0.1:3000, or targets in the --config file");
  if (options.length > TARGETS_MAX) return err(`at most ${TARGETS_MAX} targets`);
  const targets: TargetConfig[] = [];
  for (const option of options) {
    const target = parseTargetOption(option);
    if (!target.ok) return target;
    if (targets.some(({ name }) => name === target.value.name))
      return err(`target "${target.value.name}" is named twice`);
    targets.push(target.value);
  }
  return ok(targets);
}

function parseNumber(
  what: string,
  text: string | undefined,
  bounds: { min: number; max: number; whole: boolean },
): Result<number | null, string> {
  if (text === undefined) return ok(null);
  const schema = z.coerce.number().min(bounds.min).max(bounds.max);
  const parsed = (bounds.whole ? schema.int() : schema).safeParse(text.trim() === "" ? Number.NaN : text);
  return parsed.success ? ok(parsed.data) : err(`the ${what} is a number from ${bounds.min} to ${bounds.max}`);
}

export function readCa(path: string): Result<string, string> {
  try {
    const pem = readFileSync(path, "utf8");
    return pem.includes("-----BEGIN CERTIFICATE-----") ? ok(pem) : err(`${path} holds no PEM certificate`);
  } catch {
    return err(`the CA file ${path} can't be read`);
  }
}
