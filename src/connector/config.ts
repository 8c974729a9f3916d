import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { newId } from "../shared/ids.ts";
import { isLoopbackHost } from "../shared/localhost-lookup.node.ts";
import { err, ok, type Result } from "../shared/result.ts";
import type { Credential } from "./credential.ts";
import { readIdentity } from "./identity.ts";
import { isInstanceId, claimInstanceId } from "./instance.ts";
import { DRAIN_TIMEOUT_MS, TARGETS_MAX } from "./limits.ts";
import { proxyFor } from "./proxy.ts";
import { parseTarget, type TargetConfig, type TargetSource } from "./targets/target-config.ts";
import type { OriginClientKind } from "./targets/target.ts";

export type Lane = "a" | "b";

/** All that a connector needs to run. */
export interface ConnectorConfig {
  /** Scheme and host of the relay; its path is not used. */
  readonly relayUrl: URL;
  /** `slug` or `slug@cluster`. */
  readonly tenant: string;
  /** Null: a client secret alone says which one it is. */
  readonly connector: string | null;
  readonly credential: Credential;
  readonly targets: readonly TargetConfig[];
  /** Targets that the control plane pushes are served as well. */
  readonly pushedTargets: boolean;
  /** Where pushed configuration is kept for the next start; null: nowhere. */
  readonly pushedFile: string | null;
  /** Stable over restarts, different for each process. */
  readonly instanceId: string;
  readonly lanes: readonly Lane[];
  /** What speaks HTTP with targets. Default: "llhttp", our own client. */
  readonly originClient?: OriginClientKind;
  /** Certificates (PEM) that are trusted in addition to the machine's. */
  readonly ca: string | null;
  /** Open requests may finish for this long when it stops. Default 25 s. */
  readonly drainTimeoutMs: number;
  /** Longest pause between two dials. Null: what the control plane says, else 8 s. */
  readonly backoffCapMs: number | null;
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
  /** Of the credentials: instead of, or (for an issuer) beside, the credentials file. */
  readonly secretFile?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly issuer?: string | undefined;
  readonly clientId?: string | undefined;
  readonly audience?: string | undefined;
  readonly scope?: string | undefined;
  /** Where the instance id and pushed configuration are kept. Default: beside the credentials. */
  readonly stateDir?: string | undefined;
  readonly pushedTargets?: boolean | undefined;
  readonly targets: readonly TargetSource[];
  readonly instance?: string | undefined;
  readonly lanes?: string | undefined;
  readonly originClient?: string | undefined;
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
    secretFile: flags.secretFile ?? env["CAUSEWAY_SECRET_FILE"],
    tokenFile: flags.tokenFile ?? env["CAUSEWAY_TOKEN_FILE"],
    issuer: flags.issuer ?? env["CAUSEWAY_ISSUER"],
    clientId: flags.clientId ?? env["CAUSEWAY_CLIENT_ID"],
    audience: flags.audience ?? env["CAUSEWAY_AUDIENCE"],
    scope: flags.scope ?? env["CAUSEWAY_SCOPE"],
    stateDir: flags.stateDir ?? env["CAUSEWAY_STATE_DIR"],
    pushedTargets: flags.pushedTargets ?? (env["CAUSEWAY_PUSHED_TARGETS"] === "0" ? false : undefined),
    targets: flags.targets.length > 0 ? flags.targets : listed,
    instance: flags.instance ?? env["CAUSEWAY_INSTANCE"],
    lanes: flags.lanes ?? env["CAUSEWAY_LANES"],
    originClient: flags.originClient ?? env["CAUSEWAY_ORIGIN_CLIENT"],
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
  const read = readIdentity(input);
  if (!read.ok) return read;
  const { identity } = read.value;
  const warnings = [...read.value.warnings];

  const relay = input.url ?? identity.relayUrl;
  if (relay === undefined) return err("say where the relay is: --url URL");
  const relayUrl = parseRelayUrl(relay, input.allowPlainHttp);
  if (!relayUrl.ok) return relayUrl;
  if (relayUrl.value.protocol === "http:" && !isLoopbackHost(relayUrl.value.hostname)) {
    warnings.push("the relay is reached by plain http: everything can be read and changed on the way");
  }
  const proxy = proxyFor(relayUrl.value, proxyEnv);
  if (!proxy.ok) return proxy;
  const tenant = input.tenant ?? identity.tenant;
  if (tenant === undefined) return err("say which tenant: --tenant SLUG");
  if (!tenantName.test(tenant)) return err(`"${tenant}" is not a tenant's name (slug or slug@cluster)`);
  const connector = input.connector ?? identity.connector ?? null;
  if (connector === null && identity.credential.kind !== "secret") return err("say which connector: --connector NAME");
  if (connector !== null && !connectorName.test(connector)) return err(`"${connector}" is not a connector's name`);

  const targets = parseTargets(input.targets);
  if (!targets.ok) return targets;
  const takesPushed = input.pushedTargets ?? true;
  if (targets.value.length === 0 && !takesPushed) {
    return err("name at least one target: --target demo=http://127.0.0.1:3000, or targets in the --config file");
  }
  const lanes = LANES[input.lanes ?? "both"];
  if (lanes === undefined) return err("lanes are a, b or both");
  const { originClient = "llhttp" } = input;
  if (originClient !== "llhttp" && originClient !== "undici") return err("the origin client is llhttp or undici");
  const healthPort = parseNumber("health port", input.healthPort, { min: 0, max: 65_535, whole: true });
  if (!healthPort.ok) return healthPort;
  const drainSeconds = parseNumber("drain timeout", input.drainTimeout, { min: 0, max: 3600, whole: false });
  if (!drainSeconds.ok) return drainSeconds;
  const reconnectSeconds = parseNumber("longest pause", input.reconnectMax, { min: 0.1, max: 3600, whole: false });
  if (!reconnectSeconds.ok) return reconnectSeconds;
  const ca = input.ca === undefined ? ok(null) : readCa(input.ca);
  if (!ca.ok) return ca;

  const state = input.stateDir === undefined ? identity.file : join(input.stateDir, basename(identity.file));
  let instanceId = input.instance;
  if (instanceId !== undefined && !isInstanceId(instanceId)) return err(`"${instanceId}" is not an instance id`);
  if (instanceId === undefined) {
    const stored = claimInstanceId(`${state}.instance`, () => newId("con").slice(4));
    instanceId = stored.ok ? stored.value : stored.error.id;
    if (!stored.ok) warnings.push(stored.error.text);
  }

  const config: ConnectorConfig = {
    relayUrl: relayUrl.value,
    tenant,
    connector,
    credential: identity.credential,
    targets: targets.value,
    pushedTargets: takesPushed,
    pushedFile: `${state}.pushed.json`,
    instanceId,
    lanes,
    originClient,
    ca: ca.value,
    drainTimeoutMs: drainSeconds.value === null ? DRAIN_TIMEOUT_MS : drainSeconds.value * 1000,
    backoffCapMs: reconnectSeconds.value === null ? null : reconnectSeconds.value * 1000,
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

export function parseTargets(sources: readonly TargetSource[]): Result<TargetConfig[], string> {
  if (sources.length > TARGETS_MAX) return err(`at most ${TARGETS_MAX} targets`);
  const targets: TargetConfig[] = [];
  for (const source of sources) {
    const target = parseTarget(source);
    if (!target.ok) return target;
    if (target.value === null) continue; // disabled
    const { name } = target.value;
    if (targets.some((other) => other.name === name)) return err(`target "${name}" is named twice`);
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
