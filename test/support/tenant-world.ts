import { generateKeyPairSync } from "node:crypto";
import { createServer, type Server } from "node:http";
import { startProduct, BASE_DOMAIN, type ObjectCall, type Product } from "../../bench/scenarios/product.ts";
import { renderTenant } from "../../src/node-agent/envoy/render.ts";
import { encodeTenant } from "../../src/node-agent/xds/codec.ts";
import { directoryShard, type DirectoryRecord } from "../../src/policy/record.ts";
import { connectorGrant } from "../../src/protocol/lane.ts";
import { listenOnLoopback } from "./listen.ts";
import { stopChildren } from "./children.ts";
import { startCrowd, type Crowd } from "./connector-crowd.ts";
import { startBareEnvoy, type BareEnvoy } from "./envoy.ts";
import { createTimeline, type By, type Timeline } from "./tenant-truth.ts";
import { until } from "./until.ts";

/**
 * Tenants on the product's data plane: edge, directory and lanes on bare workerd, two Envoys as nodes, for each tenant a service of its own
 * and a connector of its own. Whatever a tenant's parts answer is "<tenant id> <service or target> <path as it came>". Changes are the calls
 * that the provisioner makes, in its order: nodes and lanes before the directory, and the other way round when a tenant goes.
 */
export interface TenantWorld {
  /** Port of the edge. */
  readonly port: number;
  readonly slots: readonly Slot[];
  stop(): Promise<void>;
}

/** A host and whoever has it. One change at a time. */
export interface Slot {
  readonly slug: string;
  readonly host: string;
  readonly timeline: Timeline;
  setRoutes(routes: Readonly<Record<string, By>>): Promise<void>;
  setSuspended(isSuspended: boolean): Promise<void>;
  moveToOtherNode(): Promise<void>;
  /** The tenant is deleted, and another one made with its name. */
  recreate(): Promise<void>;
}

export const TARGET = "ping";
/** Prefixes that a node has a route for; which of them the edge has is up to `setRoutes`. */
export const PREFIXES = ["/app", "/plant", "/plant-2"] as const;
const FIRST_ROUTES = { "/app": "service", "/plant": "target" } as const;
const CONNECTOR = "site";

interface Node {
  readonly id: string;
  readonly envoy: BareEnvoy;
}

/** The parts that one tenant consists of. */
interface Tenant {
  readonly id: string;
  readonly service: Server;
  readonly crowd: Crowd;
}

const now = (): number => performance.now();

export async function startTenantWorld(folder: string, count: number): Promise<TenantWorld> {
  const product = await startProduct(folder, { ACCESS_LOG: "off" });
  const nodes = await Promise.all(
    ["nod_walter", "nod_hank"].map(async (id): Promise<Node> => ({
      id,
      envoy: await startBareEnvoy(id, [product.proofKey.public]),
    })),
  );
  const slots = Array.from({ length: count }, (_, index) => createSlot(product, nodes, index));
  await Promise.all(slots.map(({ start }) => start()));
  return {
    port: Number(new URL(product.url).port),
    slots,
    async stop() {
      for (const slot of slots) slot.stop();
      await Promise.all(nodes.map(({ envoy }) => envoy.xds.close()));
      await stopChildren();
      await product.child.kill();
    },
  };
}

function createSlot(product: Product, nodes: readonly Node[], index: number) {
  const slug = `tenant-${index}`;
  const host = `${slug}.${BASE_DOMAIN}`;
  const timeline = createTimeline();
  let generation = 0;
  let revision = 0;
  let nodeIndex = index % nodes.length;
  let tenant: Tenant | null = null;

  const directory = (method: string, ...args: readonly unknown[]): ObjectCall => ({
    namespace: "DIRECTORY",
    name: directoryShard(host),
    method,
    args,
  });
  const lanes = (name: string, method: string, ...args: readonly unknown[]): ObjectCall[] =>
    (["LANE_A", "LANE_B"] as const).map((namespace) => ({ namespace, name, method, args }));

  async function publish(truth: NonNullable<Timeline["current"]>): Promise<void> {
    const node = nodes[nodeIndex];
    if (node === undefined) throw new Error("no node");
    const record: DirectoryRecord = {
      host,
      tenantId: truth.tenantId,
      slug,
      cluster: "default",
      state: truth.state,
      node: { id: node.id, name: node.id, url: node.envoy.url },
      routes: Object.entries(truth.routes).map(([prefix, by]) => ({
        prefix,
        access: "public",
        to: by === "service" ? { kind: "service", service: "app" } : { kind: "target", target: TARGET },
      })),
      accessRevision: 0,
      notBefore: {},
      revision: (revision += 1),
    };
    const settled = timeline.change(truth, now());
    await product.call([directory("publish", record)]);
    settled(now());
  }

  async function create(): Promise<void> {
    const id = `ten_${index}_${(generation += 1)}`;
    const service = createServer((request, response) => {
      request.resume();
      request.once("end", () => response.end(`${id} service ${request.url}`));
    });
    const port = await listenOnLoopback(service);
    const endpoints = new Map([["app", { address: "127.0.0.1", port }]]);
    const routes = PREFIXES.map((prefix) => ({ prefix, service: "app" }));
    const spec = { tenantId: id, slug, revision: 1, hosts: [host], routes, services: [] };
    for (const { envoy } of nodes) envoy.xds.run(envoy.planner.put(encodeTenant(id, 1, renderTenant(spec, endpoints))));
    await until(`both nodes took ${id}`, () =>
      nodes.every(({ envoy }) =>
        envoy.effects.some((effect) => effect.kind === "accepted" && effect.unit.tenantId === id),
      ),
    );
    const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
    const keyId = `key-of-${id}`;
    const grant = connectorGrant.parse({
      tenantId: id,
      tenant: slug,
      connectorId: `con_${id}`,
      name: CONNECTOR,
      revision: 1,
      disabled: false,
      keys: [{ kty: "OKP", crv: "Ed25519", x, kid: keyId }],
      targets: [TARGET],
    });
    await product.call(lanes(id, "putConnector", grant));
    await publish({ tenantId: id, state: "active", routes: FIRST_ROUTES });
    const crowd = startCrowd({
      relayUrl: `http://relay.${BASE_DOMAIN}:${new URL(product.url).port}`,
      key: { keyId, privateKey: { kty: "OKP", crv: "Ed25519", x, d } },
      members: [{ tenant: slug, connector: CONNECTOR, instance: id, lanes: ["a", "b"] }],
      answer: ({ path }) => `${id} target ${path}`,
    });
    tenant = { id, service, crowd };
    await until(`the connector of ${id}`, () => crowd.ready === 2);
  }

  async function remove({ id, service, crowd }: Tenant): Promise<void> {
    const settled = timeline.change(null, now());
    await product.call([directory("withdraw", host, id, (revision += 1))]);
    settled(now());
    await product.call(lanes(id, "removeConnector", `con_${id}`, 2));
    crowd.stop();
    for (const { envoy } of nodes) envoy.xds.run(envoy.planner.remove(id));
    await until(`no node has ${id}`, () =>
      nodes.every(({ envoy }) => envoy.effects.some((effect) => effect.kind === "gone" && effect.tenantId === id)),
    );
    service.closeAllConnections();
    service.close();
  }

  const known = (): NonNullable<Timeline["current"]> => {
    if (timeline.current === null) throw new Error(`nobody has ${host}`);
    return timeline.current;
  };
  return {
    slug,
    host,
    timeline,
    start: create,
    setRoutes: (routes: Readonly<Record<string, By>>) => publish({ ...known(), routes }),
    setSuspended: (isSuspended: boolean) => publish({ ...known(), state: isSuspended ? "suspended" : "active" }),
    async moveToOtherNode() {
      nodeIndex = (nodeIndex + 1) % nodes.length;
      await publish(known());
    },
    async recreate() {
      if (tenant !== null) await remove(tenant);
      await create();
    },
    stop() {
      tenant?.crowd.stop();
      tenant?.service.closeAllConnections();
      tenant?.service.close();
    },
  };
}
