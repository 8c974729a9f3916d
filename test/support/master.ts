import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import { request } from "node:https";
import { WebSocketServer } from "ws";
import type { AgentFile } from "../../src/node-agent/main.ts";
import type { Front, NodeTenant } from "../../src/protocol/node-channel.ts";
import { selfSigned } from "./certificate.ts";
import type { ProofKey } from "./envoy.ts";
import { listenOnLoopback } from "./listen.ts";
import { BROKER } from "./mqtt.ts";
import { DEMO_COMMANDS, demoTenant, startTestNode, type Answer, type TestNode } from "./node.ts";
import type { ChannelHost } from "./node-channel.ts";
import { freePorts } from "./ports.ts";

/** A platform with a master in front: the real agent and Envoy as master, two real nodes, and an origin in the edge router's place. */
export interface MasterWorld {
  readonly master: TestNode;
  readonly nodes: readonly [WorldNode, WorldNode];
  readonly edge: EdgeStandIn;
  readonly httpsPort: number;
  readonly mqttPort: number;
  /** What the master shows visitors. */
  readonly certificate: string;
  /** Beside the configuration files; can be replaced. */
  readonly link: { readonly master: Pair; readonly rogue: Pair; readonly authority: string };
  /** Pushes a tenant to a node, and to the master what it may know of it. Waits until both serve it. */
  put(node: WorldNode, tenant: NodeTenant, front: Pick<Front, "routes" | "mqtt">): Promise<void>;
  /** As a visitor: TLS, the host as server name and Host. */
  visit(host: string, path: string, options?: VisitOptions): Promise<Answer>;
  stop(): Promise<void>;
}
export interface WorldNode {
  readonly node: TestNode;
  /** Where masters reach it. */
  readonly port: number;
}
interface Pair {
  readonly cert: string;
  readonly key: string;
}
export interface VisitOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string;
  /** The visitor's own address; default: 127.0.0.1. */
  readonly from?: string;
}

/** What the edge router would be asked; answers with what came, and echoes WebSockets. */
export interface EdgeStandIn {
  readonly url: string;
  readonly asked: { readonly host: string | undefined; readonly path: string; readonly headers: IncomingHttpHeaders }[];
  close(): Promise<void>;
}

export async function startEdgeStandIn(): Promise<EdgeStandIn> {
  const asked: EdgeStandIn["asked"] = [];
  const server: Server = createServer((incoming, response) => {
    const { headers, url: path = "" } = incoming;
    asked.push({ host: headers.host, path, headers });
    incoming.resume();
    incoming.on("end", () => {
      response.setHeader("causeway-request-id", "req_edge");
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ edge: true, host: headers.host, path, headers }));
    });
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (incoming, socket, head) => {
    socket.on("error", () => undefined);
    sockets.handleUpgrade(incoming, socket, head, (opened) => {
      opened.on("error", () => undefined);
      opened.on("message", (data: Buffer) => opened.send(`edge: ${data.toString()}`));
    });
  });
  const port = await listenOnLoopback(server);
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    async close() {
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const MASTER_NAME = "master-1.internal";
const LINK = { certificateFile: "link.crt", keyFile: "link.key", caFile: "link-ca.crt" };

/** `edgeUrl`: of an edge that is to be asked in place of the stand-in. `commands`: of the nodes, beside their own. */
export async function startMasterWorld(
  host: ChannelHost,
  key: ProofKey,
  { edgeUrl, commands = {} }: { readonly edgeUrl?: string; readonly commands?: AgentFile["commands"] } = {},
): Promise<MasterWorld> {
  const edge = await startEdgeStandIn();
  const pairs = {
    master: selfSigned({ dns: [MASTER_NAME] }),
    node: selfSigned({ dns: ["node.internal"], ip: ["127.0.0.1"] }),
    // Of the same authority, and no master.
    rogue: selfSigned({ dns: ["master-2.internal"] }),
  };
  // Each signs for itself, so that all of them together are the authority.
  const authority = pairs.master.cert + pairs.node.cert + pairs.rogue.cert;
  const linkFiles = (pair: Pair) => ({ "link.crt": pair.cert, "link.key": pair.key, "link-ca.crt": authority });
  const [firstPort = 0, secondPort = 0, httpsPort = 0, mqttPort = 0] = await freePorts(4);

  const startNode = async (name: string, port: number): Promise<WorldNode> => ({
    port,
    node: await startTestNode(host, key, {
      name,
      config: {
        commands: { ...DEMO_COMMANDS, broker: BROKER, loud: { argv: [process.execPath, "-e", LOUD] }, ...commands },
      },
      envoy: { concurrency: 1, masters: { address: "127.0.0.1", port, names: [MASTER_NAME], ...LINK } },
      files: linkFiles(pairs.node),
    }),
  });
  const wildcard = selfSigned({ dns: ["*.causeway.localhost"] });
  const [first, second, master] = await Promise.all([
    startNode("walter-white", firstPort),
    startNode("hank-schrader", secondPort),
    startTestNode(host, key, {
      name: "master-1",
      config: { commands: {}, master: { edge: edgeUrl ?? edge.url, link: LINK } },
      envoy: {
        concurrency: 2,
        port: httpsPort,
        mqttPort,
        tls: { certificateFile: "tls.crt", keyFile: "tls.key" },
      },
      files: { ...linkFiles(pairs.master), "tls.crt": wildcard.cert, "tls.key": wildcard.key },
    }),
  ]);

  return {
    master,
    nodes: [first, second],
    edge,
    httpsPort,
    mqttPort,
    certificate: wildcard.cert,
    link: { master: pairs.master, rogue: pairs.rogue, authority },
    async put(at, tenant, front) {
      const { tenantId, revision } = tenant;
      const atMaster = frontOf(at, tenant, front);
      for (const [nodeId, pushed] of [
        [at.node.nodeId, tenant],
        [master.nodeId, atMaster],
      ] as const) {
        const channel = host.channel(nodeId);
        await channel.push({ kind: "put", tenant: pushed });
        const status = await channel.waitSettled(tenantId, revision, 30_000);
        if (status?.state !== "live") throw new Error(`${nodeId} has ${JSON.stringify(status)}`);
      }
    },
    visit: (hostName, path, options) => visit(httpsPort, hostName, path, options),
    async stop() {
      await Promise.all([master.stop(), first.node.stop(), second.node.stop()]);
      await edge.close();
    },
  };
}

/** What a master is told of a tenant of this node. */
export const frontOf = (
  { node, port }: WorldNode,
  tenant: NodeTenant,
  front: Pick<Front, "routes" | "mqtt">,
): NodeTenant => ({
  ...tenant,
  routes: [],
  services: [],
  front: { node: { id: node.nodeId, at: { host: "127.0.0.1", port } }, ...front },
});

/** The demo tenant with these open routes, and the rest of its three closed. */
export function openTenant(
  tenantId: string,
  revision: number,
  open: readonly string[],
  change: Partial<NodeTenant> = {},
): NodeTenant {
  const tenant = demoTenant(tenantId, revision, change);
  return {
    ...tenant,
    routes: tenant.routes.map((route) => (open.includes(route.prefix) ? { ...route, open: true } : route)),
  };
}

/** Says what it got, and what it is asked to say: `?answer=[["name","value"],...]` as fields of its answer. */
const LOUD = `
  require("node:http").createServer((request, response) => {
    const { searchParams } = new URL(request.url, "http://service.invalid");
    for (const [name, value] of JSON.parse(searchParams.get("answer") ?? "[]")) response.appendHeader(name, value);
    request.resume().on("end", () => response.end(JSON.stringify({ node: process.env.CAUSEWAY_NODE, fields: request.rawHeaders })));
  }).listen(Number(process.env.PORT), "127.0.0.1");
`;

function visit(port: number, host: string, path: string, options: VisitOptions = {}): Promise<Answer> {
  const { method = "GET", headers = {}, body, from = "127.0.0.1" } = options;
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: "127.0.0.1",
        port,
        method,
        path,
        servername: host,
        localAddress: from,
        rejectUnauthorized: false,
        agent: false,
        headers: { host, ...headers },
        timeout: 20_000,
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => (text += part));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
        response.on("error", reject);
      },
    );
    asked.on("timeout", () => asked.destroy(new Error("no answer in 20 s")));
    asked.on("error", reject);
    asked.end(body);
  });
}
