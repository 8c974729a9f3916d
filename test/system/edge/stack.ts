import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair } from "jose";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare, type V4WorkerOptions } from "miniflare";
import { z } from "zod";
import { unstable_getMiniflareWorkerOptions as readOptions } from "wrangler";
import { bundleWorker } from "../../../src/cli/workers/bundle.ts";
import {
  DIRECTORY_SHARD_NAMES,
  directoryShard,
  type DirectoryRecord,
  type DirectoryRpc,
} from "../../../src/policy/record.ts";
import type { PublicJwk } from "../../../src/protocol/jwk.ts";
import type { MembersRpc } from "../../../src/protocol/portal-rpc.ts";
import { freePorts } from "../../support/ports.ts";

/** The real edge, portal and directory on workerd, as their wrangler files wire them, on a free loopback port. */
export interface EdgeStack {
  readonly port: number;
  readonly proofKey: PublicJwk;
  readonly sessionKey: { readonly private: string };
  readonly members: MembersRpc;
  directoryOf(host: string): Promise<DirectoryRpc>;
  directoryShards(): Promise<readonly DirectoryRpc[]>;
  publish(record: DirectoryRecord): Promise<{ applied: boolean; revision: number }>;
  /** Makes the edge's lookups fail; the objects stay. */
  setDirectoryDown(isDown: boolean): Promise<void>;
  /** Every lookup takes so long. */
  setDirectoryDelay(ms: number): Promise<void>;
  /** Lookups at all directory objects so far. */
  directoryReads(): Promise<number>;
  /** A request to the edge with this very URL, https too. Redirects are not followed. */
  fetch(
    url: string,
    init?: {
      method?: string;
      headers?: Record<string, string>;
      body?: string;
      /** What Cloudflare's runtime says beside the request. */
      cf?: Record<string, string>;
    },
  ): Promise<Response>;
  /** Access log of the edge, newest last. */
  readonly log: readonly Record<string, unknown>[];
  stop(): Promise<void>;
}

const logLine = z.record(z.string(), z.unknown());

export async function newKey(kid: string): Promise<{ private: string; public: PublicJwk }> {
  const pair = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { x = "", d } = await exportJWK(pair.privateKey);
  const key = { kty: "OKP" as const, crv: "Ed25519" as const, x, kid };
  return { private: JSON.stringify({ ...key, d }), public: key };
}

/** `portalVars`: for the portal alone, over its wrangler file's. `proofKey`: what the edge signs with; default: a new key. */
export async function startEdgeStack(
  databaseUrl: string,
  vars: Record<string, string> = {},
  portalVars: Record<string, string> = {},
  proofKey: { readonly private: string; readonly public: PublicJwk } | null = null,
): Promise<EdgeStack> {
  const folder = mkdtempSync(join(tmpdir(), "causeway-edge-"));
  const [port = 0] = await freePorts(1);
  const proof = proofKey ?? (await newKey("proof-1"));
  const session = await newKey("session-1");
  const log: Record<string, unknown>[] = [];
  const shared = { PUBLIC_PORT: String(port), BASE_DOMAINS: "causeway.localhost", ...vars };

  async function worker(name: string, entry: string, options: Partial<V4WorkerOptions>): Promise<V4WorkerOptions> {
    const outDir = join(folder, name);
    await bundleWorker(entry, outDir);
    const placed = { scriptPath: join(outDir, "worker.js"), modulesRoot: outDir, rootPath: outDir };
    return { compatibilityDate: "2026-11-01", ...options, name, modules: true, ...placed };
  }
  function configured(path: string): Partial<V4WorkerOptions> {
    process.env["CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_PORTAL_DB"] = databaseUrl;
    const { modulesRules: _rules, rootPath: _root, ...options } = readOptions(path).workerOptions;
    return structuredClone(options);
  }
  const edge = configured("wrangler.toml");
  const portal = configured("src/portal/wrangler.toml");
  const fixture = (name: string, lane: string) =>
    worker(name, "test/workerd/edge/fixtures/parts.ts", {
      bindings: { LANE: lane },
      durableObjects: { LANE_OBJECT: { className: "Lane", useSQLite: true } },
    });

  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port,
      cf: false,
      telemetry: { enabled: false },
      log: new Log(LogLevel.WARN),
      handleStructuredLogs: ({ message }) => {
        if (message.startsWith("{")) log.push(logLine.parse(JSON.parse(message)));
        else console.log(message);
      },
      workers: [
        await worker("causeway-edge", "src/edge-router/worker.ts", {
          ...edge,
          bindings: {
            ...edge.bindings,
            ...shared,
            FIRST_BYTE_SECONDS: "3",
            PROOF_PRIVATE_KEY: proof.private,
            SESSION_PUBLIC_KEYS: JSON.stringify({ keys: [session.public] }),
          },
        }),
        await worker("causeway-portal", "src/portal/worker.ts", {
          ...portal,
          hyperdrives: { PORTAL_DB: databaseUrl },
          bindings: {
            ...portal.bindings,
            ...shared,
            ...portalVars,
            AUTH_SECRET: "a secret of at least thirty-two characters",
            SESSION_PRIVATE_KEY: session.private,
          },
        }),
        await worker("causeway-relay-control", "test/workerd/edge/fixtures/parts.ts", {
          durableObjects: { DIRECTORY: { className: "Directory", useSQLite: true } },
          kvNamespaces: { DIRECTORY_COPY: "directory-copy" },
          serviceBindings: {
            MEMBERS: { name: "causeway-portal", entrypoint: "Members" },
            SWITCH: { name: "causeway-relay-control", entrypoint: "Switch" },
          },
        }),
        await worker("causeway-console", "test/workerd/edge/fixtures/console.ts", {}),
        ...(await Promise.all(["a", "b"].map((lane) => fixture(`causeway-relay-${lane}`, lane)))),
      ],
    }),
  );
  await miniflare.ready;
  const bindings = await miniflare.getBindings<{ DIRECTORY: { getByName(name: string): DirectoryRpc } }>(
    "causeway-edge",
  );
  const { MEMBERS: members, SWITCH: directorySwitch } = await miniflare.getBindings<{
    MEMBERS: MembersRpc;
    SWITCH: Pick<EdgeStack, "setDirectoryDown" | "setDirectoryDelay" | "directoryReads">;
  }>("causeway-relay-control");
  const directoryOf = async (host: string) => bindings.DIRECTORY.getByName(directoryShard(host));
  return {
    port,
    proofKey: proof.public,
    sessionKey: session,
    members,
    directoryOf,
    directoryShards: async () => DIRECTORY_SHARD_NAMES.map((name) => bindings.DIRECTORY.getByName(name)),
    setDirectoryDown: (isDown) => directorySwitch.setDirectoryDown(isDown),
    setDirectoryDelay: (ms) => directorySwitch.setDirectoryDelay(ms),
    directoryReads: () => directorySwitch.directoryReads(),
    publish: async (record) => (await directoryOf(record.host)).publish(record),
    fetch: async (target, init = {}) => {
      const answer = await miniflare.dispatchFetch(target, { ...init, redirect: "manual" });
      return new Response(await answer.arrayBuffer(), { status: answer.status, headers: [...answer.headers] });
    },
    log,
    async stop() {
      await miniflare.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
