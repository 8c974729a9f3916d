import { execFile, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { importJWK, SignJWT } from "jose";
import { reapNode, type AgentFile } from "../../src/node-agent/main.ts";
import type { AgentStatus } from "../../src/node-agent/health.ts";
import { PROOF_ISSUER, PROOF_LIFETIME_SECONDS } from "../../src/protocol/proof.ts";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { newId } from "../../src/shared/ids.ts";
import { endChild, startChild } from "./children.ts";
import { envoyBinary, type ProofKey } from "./envoy.ts";
import type { ChannelHost } from "./node-channel.ts";
import { freePorts } from "./ports.ts";
import { until } from "./until.ts";

const NODE = join(process.cwd(), "node_modules/.bin/node");
const CAUSEWAY = join(process.cwd(), "src/cli/main.ts");
const DEMO_SERVICE = join(process.cwd(), "local-stack/demo-service/main.ts");
/** The catalogue that every test node has unless it says otherwise. */
export const DEMO_COMMANDS: NonNullable<AgentFile["commands"]> = { "demo-service": { argv: [NODE, DEMO_SERVICE] } };

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** A whole node: the real agent as a process of its own, the real Envoy and the demo services that it runs. */
export interface TestNode {
  readonly nodeId: string;
  readonly dir: string;
  readonly url: string;
  readonly adminUrl: string;
  readonly log: () => string;
  /** `timeoutMs`: until it is ready; 20 s by default. */
  start(change?: Partial<AgentFile>, timeoutMs?: number): Promise<void>;
  /** Ends the agent with a signal; what it runs goes on. */
  end(signal: NodeJS.Signals): Promise<void>;
  status(): Promise<AgentStatus>;
  proofFor(tenantId: string, host: string, nodeId?: string): Promise<string>;
  /** A request as the edge makes it, to the host of a tenant. */
  ask(tenantId: string, host: string, path: string): Promise<Answer>;
  stop(): Promise<void>;
}

export async function startTestNode(
  host: Pick<ChannelHost, "relayUrl" | "newNode">,
  key: ProofKey,
  options: {
    readonly name?: string;
    readonly config?: Partial<AgentFile>;
    readonly envoy?: Partial<AgentFile["envoy"]>;
    /** Beside the configuration file. */
    readonly files?: Readonly<Record<string, string>>;
  } = {},
): Promise<TestNode> {
  const { name = "walter-white", config: extra = {}, envoy = {}, files = {} } = options;
  const nodeId = newId("nod");
  const dir = mkdtempSync(join(tmpdir(), "cw-node-"));
  const tokenFile = join(dir, "token");
  writeFileSync(tokenFile, await host.newNode(nodeId, name), { mode: 0o600 });
  const credentials = join(dir, "node.json");
  const enroll = ["node", "enroll", "--url", host.relayUrl, "--token-file", tokenFile, "--out", credentials];
  await promisify(execFile)(NODE, [CAUSEWAY, ...enroll]);

  const [port = 0, adminPort = 0, healthPort = 0] = await freePorts(3);
  const base: AgentFile = {
    stateDir: "state",
    credentialsFile: "node.json",
    envoy: { binary: await envoyBinary(), port, adminPort, concurrency: 2, ...envoy },
    healthPort,
    commands: DEMO_COMMANDS,
    ...extra,
  };
  for (const [file, content] of Object.entries(files)) writeFileSync(join(dir, file), content);
  const configFile = join(dir, "agent.json");
  const logFile = join(dir, "agent.log");
  let agent: ChildProcess | null = null;
  const proofs = new Map<string, string>();
  const url = `http://127.0.0.1:${port}`;
  const adminUrl = `http://127.0.0.1:${adminPort}`;

  const status = async (): Promise<AgentStatus> => {
    const response = await fetch(`http://127.0.0.1:${healthPort}/readyz`);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own agent's answer
    return (await response.json()) as AgentStatus;
  };
  const proofFor = async (tenantId: string, hostName: string, audience = nodeId): Promise<string> => {
    const found = proofs.get(`${tenantId} ${hostName} ${audience}`);
    if (found !== undefined) return found;
    const signed = await new SignJWT({ tenant: tenantId, host: hostName })
      .setProtectedHeader({ alg: "EdDSA", kid: key.public.kid })
      .setIssuer(PROOF_ISSUER)
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime(`${PROOF_LIFETIME_SECONDS}s`)
      .sign(await importJWK(key.private, "EdDSA"));
    proofs.set(`${tenantId} ${hostName} ${audience}`, signed);
    return signed;
  };
  const self: TestNode = {
    nodeId,
    dir,
    url,
    adminUrl,
    log: () => readFileSync(logFile, "utf8"),
    async start(change = {}, timeoutMs = 20_000) {
      writeFileSync(configFile, JSON.stringify({ ...base, ...change }));
      agent = startChild([NODE, CAUSEWAY, "node", "run", "--config", configFile], logFile);
      await until("the agent is ready", async () => (await status()).ready, { timeoutMs });
    },
    async end(signal) {
      if (agent !== null) await endChild(agent, signal);
      agent = null;
    },
    status,
    proofFor,
    ask: async (tenantId, hostName, path) =>
      get(`${url}${path}`, { "causeway-proof": await proofFor(tenantId, hostName) }),
    async stop() {
      await self.end("SIGTERM");
      await reapNode(join(dir, "state"));
    },
  };
  await self.start();
  return self;
}

/** One request over a connection of its own, so that a test sees a refused connection as such. */
export const get = (url: string, headers: Record<string, string>): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const asked = request(url, { headers, agent: false, timeout: 10_000 }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (body += part));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      response.on("error", reject);
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer in 10 s")));
    asked.on("error", reject);
    asked.end();
  });

/** A tenant with the three services of the demo data, run by the process driver. */
export function demoTenant(tenantId: string, revision: number, change: Partial<NodeTenant> = {}): NodeTenant {
  const slug = tenantId.slice(4);
  const names = ["app", "connectors", "manager"];
  return {
    tenantId,
    slug,
    revision,
    hosts: [`${slug}.causeway.localhost`],
    routes: names.map((name) => ({ prefix: `/${name}`, service: name })),
    services: names.map((name) => ({
      name,
      workspace: "main",
      driver: { kind: "process", command: "demo-service" },
      healthPath: "/healthz",
      secrets: {},
    })),
    ...change,
  };
}

/** A tenant whose services run elsewhere: quick to add by the dozen. */
export function externalTenant(
  tenantId: string,
  revision: number,
  port: number,
  change: Partial<NodeTenant> = {},
): NodeTenant {
  return demoTenant(tenantId, revision, {
    routes: [{ prefix: "/app", service: "app" }],
    services: [
      {
        name: "app",
        workspace: "main",
        driver: { kind: "external", address: "127.0.0.1", port },
        healthPath: null,
        secrets: {},
      },
    ],
    ...change,
  });
}
