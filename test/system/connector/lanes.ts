import { randomBytes } from "node:crypto";
import { createTestHarness } from "wrangler";
import { z } from "zod";
import { directoryShard, type DirectoryRecord } from "../../../src/policy/record.ts";
import { publicJwk, type PublicJwk } from "../../../src/protocol/jwk.ts";
import {
  connectorGrant,
  tenantSettings,
  type ConnectorGrant,
  type LaneDrain,
  type PairingRequest,
  type TenantSettings,
} from "../../../src/protocol/lane.ts";
import { newKey } from "../edge/stack.ts";

/** Both real lanes and the real directory on workerd, with a small Worker in front where the edge would be. */
export interface Lanes {
  readonly port: number;
  readonly relayUrl: string;
  /** Instance ids that are online at a lane. */
  online(lane: "a" | "b"): Promise<string[]>;
  /** Publishes the tenant `acme` and its connector `plant-1` to directory and lanes. */
  grant(key: PublicJwk, change?: Partial<ConnectorGrant>): Promise<void>;
  /** Publishes settings of the tenant to both lanes. */
  settings(change: Omit<Partial<TenantSettings>, "tenantId" | "revision">): Promise<void>;
  /** Who asked to be let in, at lane a. */
  pairing(): Promise<PairingRequest[]>;
  drain(lane: "a" | "b", graceMs: number, holdMs?: number): Promise<LaneDrain>;
  /** Ends a drain. */
  serve(lane: "a" | "b"): Promise<void>;
  /** The object loses its memory; its sockets sleep through it, or are closed. */
  evict(lane: "a" | "b", webSockets: "hibernate" | "close"): Promise<void>;
  stop(): Promise<void>;
}

const TENANT = "ten_acme";
const drained = z.object({ sockets: z.number(), inFlight: z.number() });
const pairingRequests = z.array(
  z.object({
    id: z.string(),
    connector: z.string(),
    key: publicJwk,
    software: z.string(),
    clientAddress: z.string().nullable(),
    atMs: z.number(),
  }),
);
const sessions = z.array(z.object({ instanceId: z.string() }));
const HOST = "acme.causeway.localhost";

/** `edge`: requests with the header `x-edge: 1` go through the real edge, as its wrangler file wires it. */
export async function startLanes({ edge = false }: { edge?: boolean } = {}): Promise<Lanes> {
  const tokenKey = randomBytes(32).toString("base64");
  const config = (name: string) => ({
    configPath: `src/relay/${name}.wrangler.toml`,
    ...(name === "relay-control" ? {} : { secrets: { RELAY_TOKEN_KEY: tokenKey } }),
  });
  const lane = (binding: string, which: string) => ({
    name: binding,
    class_name: "Lane",
    script_name: `causeway-relay-${which}`,
  });
  const server = createTestHarness({
    workers: [
      {
        config: {
          name: "visitor",
          main: "test/system/fixtures/lane-visitor.ts",
          compatibility_date: "2026-11-01",
          durable_objects: {
            bindings: [
              lane("LANE_A", "a"),
              lane("LANE_B", "b"),
              { name: "DIRECTORY", class_name: "Directory", script_name: "causeway-relay-control" },
            ],
          },
          services: [
            { binding: "RELAY_A", service: "causeway-relay-a" },
            { binding: "RELAY_B", service: "causeway-relay-b" },
            ...(edge ? [{ binding: "EDGE", service: "causeway-edge" }] : []),
          ],
        },
      },
      config("relay-a"),
      config("relay-b"),
      config("relay-control"),
      ...(edge ? await edgeAndPortal() : []),
    ],
  });
  const { url } = await server.listen();
  const call = async (binding: string, object: string, method: string, argument: unknown = null): Promise<unknown> => {
    const body = JSON.stringify(argument);
    const response = await fetch(new URL(`/control/${binding}/${object}/${method}`, url), { method: "POST", body });
    if (!response.ok) throw new Error(`${binding}.${method} answered ${response.status}: ${await response.text()}`);
    return await response.json();
  };
  const record: DirectoryRecord = {
    host: HOST,
    tenantId: TENANT,
    slug: "acme",
    cluster: "main",
    state: "active",
    node: null,
    routes: [],
    accessRevision: 0,
    notBefore: {},
    revision: 1,
  };
  await call("DIRECTORY", directoryShard(HOST), "publish", record);
  const port = Number(url.port);
  /**
   * The harness would wait for the answer with this whole process, connectors and visitors included, while the object waits for them until
   * their time is over. It does so for no call with a Blob.
   */
  const evict = async (which: string, webSockets: "hibernate" | "close"): Promise<void> => {
    const options = { name: TENANT, webSockets, notBlocking: new Blob([]) };
    await server.getWorker(`causeway-relay-${which}`).evictDurableObject("Lane", options);
  };
  let revision = 0;
  return {
    port,
    relayUrl: `http://relay.causeway.localhost:${port}`,
    online: async (which) =>
      sessions.parse(await call(`LANE_${which.toUpperCase()}`, TENANT, "sessions")).map(({ instanceId }) => instanceId),
    async grant(key, change = {}) {
      revision += 1;
      const grant = connectorGrant.parse({
        tenantId: TENANT,
        tenant: "acme",
        connectorId: "con_1",
        name: "plant-1",
        revision,
        disabled: false,
        keys: [key],
        targets: null,
        ...change,
      });
      await Promise.all(["LANE_A", "LANE_B"].map((binding) => call(binding, TENANT, "putConnector", grant)));
    },
    async settings(change) {
      revision += 1;
      const settings = tenantSettings.parse({ ...change, tenantId: TENANT, tenant: "acme", revision });
      await Promise.all(["LANE_A", "LANE_B"].map((binding) => call(binding, TENANT, "putSettings", settings)));
    },
    pairing: async () => pairingRequests.parse(await call("LANE_A", TENANT, "pairingRequests")),
    drain: async (which, graceMs, holdMs = 0) =>
      drained.parse(await call(`LANE_${which.toUpperCase()}`, TENANT, "drain", { graceMs, holdMs })),
    serve: async (which) => void (await call(`LANE_${which.toUpperCase()}`, TENANT, "serve")),
    evict,
    stop: () => server.close(),
  };
}

async function edgeAndPortal() {
  const proof = await newKey("proof-1");
  return [
    { configPath: "wrangler.toml", secrets: { PROOF_PRIVATE_KEY: proof.private } },
    // Nobody signs in here.
    {
      config: {
        name: "causeway-portal",
        main: "test/workerd/edge/fixtures/no-portal.ts",
        compatibility_date: "2026-11-01",
      },
    },
  ];
}
