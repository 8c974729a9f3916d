import { createHash } from "node:crypto";
import { chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { err, ok, type Result } from "../../shared/result.ts";
import { replaceFile } from "../envoy/files.ts";
import type { Endpoint } from "../envoy/render.ts";
import { LIMITS } from "../limits.ts";
import { lookAt } from "./health-check.ts";
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

/** Looks until it is healthy, or the signal ends it. `endpoint`: null while it isn't running. */
export async function untilHealthy(
  instance: ServiceInstance,
  endpoint: () => Endpoint | null,
  signal: AbortSignal,
): Promise<Result<null, string>> {
  let last = "it is not running";
  while (!signal.aborted) {
    const at = endpoint();
    if (at !== null) {
      const trouble = await lookAt(instance, at);
      if (trouble === null) return ok(null);
      last = trouble;
    }
    await sleep(LIMITS.healthCheckIntervalMs, undefined, { signal }).catch(() => undefined);
  }
  return err(`service ${instance.service} did not become healthy: ${last}`);
}
