import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findEnvoy } from "../../src/cli/local/envoy-binary.ts";
import { PACKAGE_ROOT } from "../../src/cli/local/paths.ts";
import { renderTenant } from "../../src/node-agent/envoy/render.ts";
import {
  LISTENERS_FILE,
  PROOF_FILTER_FILE,
  renderBootstrap,
  renderListeners,
  renderProofFilter,
} from "../../src/node-agent/envoy/static.ts";
import { LIMITS } from "../../src/node-agent/limits.ts";
import { encodeTenant } from "../../src/node-agent/xds/codec.ts";
import { createPlanner } from "../../src/node-agent/xds/planner.ts";
import { startXdsServer } from "../../src/node-agent/xds/server.ts";
import type { PublicJwk } from "../../src/protocol/jwk.ts";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { createLogger } from "../../src/shared/log.ts";
import { CliError, EXIT } from "../../src/cli/frame/exit.ts";
import { freePort, startChild } from "../core/children.ts";
import type { Hop } from "./yardsticks.ts";

/** One worker thread, as workerd has one: two processes that share two cores with the load are enough. */
const CONCURRENCY = 1;

/**
 * A real Envoy with the node agent's own configuration: rendered by its code, served by its delta-xDS server (which sleeps while requests
 * run). `services` says where the tenant's services listen.
 */
export async function startEnvoy(
  folder: string,
  node: { readonly id: string; readonly proofKeys: readonly PublicJwk[] },
  tenant: NodeTenant,
  services: ReadonlyMap<string, { readonly address: string; readonly port: number }>,
): Promise<Hop & { readonly stopXds: () => Promise<void>; readonly version: string }> {
  const binary = await findEnvoy({ cacheDir: join(PACKAGE_ROOT, "node_modules/.cache/causeway") });
  if (!binary.ok) throw new CliError(EXIT.environment, binary.error.reason, binary.error.remedy);
  const paths = {
    xdsSocket: join(folder, "envoy-run/xds.sock"),
    probeSocket: join(folder, "envoy-run/probe.sock"),
    tunnelSocket: join(folder, "envoy-run/mqtt.sock"),
    gateSocket: join(folder, "envoy-run/gate.sock"),
    listenersDir: join(folder, "envoy-listeners"),
    filtersDir: join(folder, "envoy-filters"),
    secretsDir: join(folder, "envoy-secrets"),
  };
  await Promise.all([paths.listenersDir, paths.filtersDir].map((dir) => mkdir(dir, { recursive: true })));
  const ports = {
    address: "127.0.0.1",
    port: await freePort(),
    adminPort: await freePort(),
    tls: false,
    mqttPort: null,
  };
  const bootstrap = join(folder, "envoy.json");
  await Promise.all(
    [
      [bootstrap, renderBootstrap("bench-node", ports, paths)] as const,
      [join(paths.listenersDir, LISTENERS_FILE), renderListeners(ports, paths)] as const,
      [join(paths.filtersDir, PROOF_FILTER_FILE), renderProofFilter(node.id, node.proofKeys, "1")] as const,
    ].map(([file, content]) => writeFile(file, JSON.stringify(content))),
  );
  const planner = createPlanner(LIMITS);
  let accepted = false;
  let rejected: string | null = null;
  const xds = await startXdsServer({
    socketPath: paths.xdsSocket,
    planner,
    onEffect: (effect) => {
      if (effect.kind === "accepted") accepted = true;
      if (effect.kind === "rejected") rejected = effect.reason;
    },
    log: createLogger("bench", () => {}),
  });
  xds.run(planner.put(encodeTenant(tenant.tenantId, tenant.revision, renderTenant(tenant, services))));
  const flags = ["--disable-hot-restart", "--concurrency", String(CONCURRENCY), "--log-level", "warning"];
  const child = await startChild({ name: "envoy", folder, command: binary.value, args: ["-c", bootstrap, ...flags] });
  const stopXds = () => xds.close();
  try {
    await child.until(() => {
      if (rejected !== null) throw new CliError(EXIT.failed, `Envoy rejected its configuration: ${rejected}`);
      return accepted ? true : null;
    });
  } catch (error) {
    await child.stop();
    await stopXds();
    throw error;
  }
  const version = spawnSync(binary.value, ["--version"], { encoding: "utf8" }).stdout;
  return {
    child,
    counted: { name: "envoy", pid: child.pid },
    url: `http://127.0.0.1:${ports.port}`,
    stopXds,
    version: /\/(\d+\.\d+\.\d+)\//.exec(version)?.[1] ?? version.trim(),
  };
}
