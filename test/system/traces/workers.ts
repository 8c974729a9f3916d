import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare, type V4WorkerOptions } from "miniflare";
import { unstable_getMiniflareWorkerOptions as readOptions } from "wrangler";
import { bundleWorker } from "../../../src/cli/workers/bundle.ts";
import { directoryShard, type DirectoryRpc } from "../../../src/policy/record.ts";
import type { PublicJwk } from "../../../src/protocol/jwk.ts";
import { connectorGrant, tenantSettings, type LaneRpc } from "../../../src/protocol/lane.ts";
import { freePorts } from "../../support/ports.ts";
import { newKey } from "../edge/stack.ts";

/** The real edge, both lanes and the directory on workerd, as their wrangler files wire them; the portal is not needed here. */
export interface Workers {
  readonly port: number;
  readonly relayUrl: string;
  /** Publishes the tenant `acme`, whose paths all lead to the target `web`, and its connector `plant-1`. */
  publish(key: PublicJwk): Promise<void>;
  /** Instance ids that are online at a lane. */
  online(lane: "a" | "b"): Promise<string[]>;
  stop(): Promise<void>;
}

interface Objects<Rpc> {
  getByName(name: string): Rpc;
}

const TENANT = "ten_acme";
const HOST = "acme.causeway.localhost";
const PORTAL = `import { WorkerEntrypoint } from "cloudflare:workers";
export class Sessions extends WorkerEntrypoint {}
export default { fetch: () => new Response("portal", { status: 404 }) };`;

/** `vars`: of the edge and the lanes. */
export async function startWorkers(vars: Record<string, string>): Promise<Workers> {
  const folder = mkdtempSync(join(tmpdir(), "causeway-traces-"));
  const [port = 0] = await freePorts(1);
  const tokenKey = randomBytes(32).toString("base64");
  const proof = await newKey("proof-1");

  async function worker(name: string, config: string, bindings: Record<string, string>): Promise<V4WorkerOptions> {
    const { workerOptions, main = "" } = readOptions(config);
    const { modulesRules: _rules, rootPath: _root, ...rest } = workerOptions;
    const options: Partial<V4WorkerOptions> = structuredClone(rest);
    const outDir = join(folder, name);
    await bundleWorker(main, outDir);
    const placed = { scriptPath: join(outDir, "worker.js"), modulesRoot: outDir, rootPath: outDir };
    return {
      ...options,
      bindings: { ...options.bindings, ...bindings },
      name,
      modules: true,
      ...placed,
    };
  }
  const lane = { ...vars, RELAY_TOKEN_KEY: tokenKey };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port,
      cf: false,
      telemetry: { enabled: false },
      log: new Log(LogLevel.WARN),
      handleStructuredLogs: () => undefined,
      workers: [
        await worker("causeway-edge", "wrangler.toml", {
          ...vars,
          PUBLIC_PORT: String(port),
          PROOF_PRIVATE_KEY: proof.private,
        }),
        await worker("causeway-relay-a", "src/relay/relay-a.wrangler.toml", lane),
        await worker("causeway-relay-b", "src/relay/relay-b.wrangler.toml", lane),
        await worker("causeway-relay-control", "src/relay/relay-control.wrangler.toml", {}),
        { name: "causeway-portal", modules: true, script: PORTAL, compatibilityDate: "2026-11-01" },
      ],
    }),
  );
  await miniflare.ready;
  const bindings = await miniflare.getBindings<{
    DIRECTORY: Objects<DirectoryRpc>;
    LANE_A: Objects<LaneRpc>;
    LANE_B: Objects<LaneRpc>;
  }>("causeway-edge");
  const lanes = { a: bindings.LANE_A.getByName(TENANT), b: bindings.LANE_B.getByName(TENANT) };
  return {
    port,
    relayUrl: `http://relay.causeway.localhost:${port}`,
    async publish(key) {
      const route = { prefix: "/", access: "public", to: { kind: "target", target: "web" } } as const;
      const grant = connectorGrant.parse({
        tenantId: TENANT,
        tenant: "acme",
        connectorId: "con_1",
        name: "plant-1",
        revision: 1,
        disabled: false,
        keys: [key],
        targets: null,
      });
      const settings = tenantSettings.parse({ tenantId: TENANT, tenant: "acme", revision: 1 });
      for (const one of [lanes.a, lanes.b]) {
        await one.putSettings(settings);
        await one.putConnector(grant);
      }
      await bindings.DIRECTORY.getByName(directoryShard(HOST)).publish({
        host: HOST,
        tenantId: TENANT,
        slug: "acme",
        cluster: "main",
        state: "active",
        node: null,
        routes: [route],
        accessRevision: 0,
        notBefore: {},
        revision: 1,
      });
    },
    online: async (name) => (await lanes[name].sessions()).map(({ instanceId }) => instanceId),
    async stop() {
      await miniflare.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
