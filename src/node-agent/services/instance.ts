import { createHash } from "node:crypto";
import { chown, mkdir } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { err, ok, type Result } from "../../shared/result.ts";
import { replaceFile } from "../envoy/files.ts";
import type { Endpoint } from "../envoy/render.ts";
import { LIMITS } from "../limits.ts";
import type { ServiceInstance } from "./service-driver.ts";

/** `<tenant>/<workspace>/<service>`, for people. */
export const nameOf = ({ tenantId, workspace, service }: ServiceInstance): string =>
  `${tenantId}/${workspace}/${service}`;

/** The entry of the catalogue that it names, for people. */
export const described = ({ driver }: ServiceInstance): string =>
  driver.kind === "process" ? `command "${driver.command}"` : `image "${driver.image}"`;

/** `<tenant>/<workspace>/<service>/<form>`: whatever changes the form needs a new instance. `entry`: of the operator's catalogue. */
export function keyOf(instance: ServiceInstance, entry: unknown): string {
  const { tenantId, workspace, service, slug, secrets, driver } = instance;
  const sorted = Object.keys(secrets)
    .toSorted()
    .map((name) => [name, secrets[name]]);
  const parts = [driver, entry ?? null, slug, sorted];
  const form = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
  return join(tenantId, workspace, service, form);
}

/** What every service is told of itself, whoever runs it. */
export const ownEnvironment = (
  { slug, tenantId, workspace, service }: ServiceInstance,
  node: string,
  port: number,
  secretsDir: string,
): Record<string, string> => ({
  PORT: String(port),
  CAUSEWAY_TENANT: slug,
  CAUSEWAY_TENANT_ID: tenantId,
  CAUSEWAY_WORKSPACE: workspace,
  CAUSEWAY_SERVICE: service,
  CAUSEWAY_NODE: node,
  CAUSEWAY_SECRETS_DIR: secretsDir,
});

/** One file a secret, so that none is in an environment that others could read. `owner`: who reads them, if it isn't the agent's user. */
export async function writeSecrets(
  secretsDir: string,
  secrets: Readonly<Record<string, string>>,
  owner: { readonly uid: number; readonly gid: number } | null = null,
): Promise<void> {
  await mkdir(secretsDir, { recursive: true, mode: 0o700 });
  for (const [name, value] of Object.entries(secrets)) {
    const path = join(secretsDir, name);
    await replaceFile(path, value, 0o600);
    if (owner !== null) await chown(path, owner.uid, owner.gid);
  }
  if (owner !== null) await chown(secretsDir, owner.uid, owner.gid);
}

/**
 * Asks until the service answers its health path with 2xx, or anything at all when it has none; of a broker, until it takes a connection. `endpoint`: null while it isn't
 * running.
 */
export async function untilHealthy(
  { service, protocol, healthPath }: ServiceInstance,
  endpoint: () => Endpoint | null,
  signal: AbortSignal,
): Promise<Result<null, string>> {
  let last = "it is not running";
  while (!signal.aborted) {
    const at = endpoint();
    if (at !== null) {
      const answer = protocol === "mqtt" ? await checkTcp(at) : await check(at, healthPath ?? "/");
      if (answer === null) return ok(null);
      if (typeof answer === "string") last = answer;
      else if (healthPath === null || (answer >= 200 && answer < 300)) return ok(null);
      else last = `${healthPath} answered ${answer}`;
    }
    await sleep(LIMITS.healthCheckIntervalMs, undefined, { signal }).catch(() => undefined);
  }
  return err(`service ${service} did not become healthy: ${last}`);
}

/** Whether it is healthy now: one look, without waiting for it to become so. */
export async function isHealthy({ protocol, healthPath }: ServiceInstance, at: Endpoint): Promise<boolean> {
  if (protocol === "mqtt") return (await checkTcp(at)) === null;
  const answer = await check(at, healthPath ?? "/");
  return typeof answer === "number" && (healthPath === null || (answer >= 200 && answer < 300));
}

/** Status code of a GET, or a sentence about why there is none. */
const check = ({ address, port }: Endpoint, path: string): Promise<number | string> =>
  new Promise((resolve) => {
    const asked = request(
      { host: address, port, path, timeout: LIMITS.healthCheckTimeoutMs, agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    asked.on("timeout", () => asked.destroy(new Error("no answer in time")));
    asked.on("error", (error) => resolve(error.message));
    asked.end();
  });

/** Null when a connection was made and stayed: a proxy of the engine takes any, and closes it at once when nobody listens behind it. */
const checkTcp = ({ address, port }: Endpoint): Promise<string | null> =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const timeout = setTimeout(() => socket.destroy(new Error("no connection in time")), LIMITS.healthCheckTimeoutMs);
    socket.once("connect", () => setTimeout(() => socket.destroy(), LIMITS.connectionStaysMs).unref());
    let failure: string | null = null;
    socket.once("error", (error) => (failure = error.message));
    socket.once("end", () => (failure = "it closes connections at once"));
    socket.once("close", () => {
      clearTimeout(timeout);
      resolve(failure);
    });
  });
