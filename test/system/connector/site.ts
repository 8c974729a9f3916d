import { spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startConnector, type Connector, type ConnectorConfig } from "../../../src/connector/main.ts";
import { publicJwk, type PublicJwk } from "../../../src/protocol/jwk.ts";
import { createLogger } from "../../../src/shared/log.ts";
import { parseTarget } from "../../../src/connector/targets/target-config.ts";
import { listenOnLoopback } from "../../support/listen.ts";

/** A site: key, credentials file, targets, connectors (in this process or as one of their own). `close` ends all that it started. */
export interface Site {
  readonly folder: string;
  readonly credentials: string;
  readonly publicKey: PublicJwk;
  /** Log lines of the connectors in this process. */
  readonly log: string[];
  connector(change: Partial<ConnectorConfig> & { relay: string; targets: ConnectorConfig["targets"] }): Connector;
  process(relay: string, args: readonly string[], env?: NodeJS.ProcessEnv): SiteProcess;
  /** Any other command of ours. */
  command(args: readonly string[], env?: NodeJS.ProcessEnv): SiteProcess;
  /** Any HTTP server as a target; answers its URL. */
  target(listener: RequestListener, prepare?: (server: Server) => void): Promise<string>;
  /** The demo target as a process of its own. */
  demoTarget(): Promise<string>;
  close(): Promise<void>;
}

export interface SiteProcess {
  readonly child: ChildProcess;
  readonly output: () => string;
  /** Exit code, or the signal's name. */
  readonly exit: Promise<number | string>;
}

export interface SiteOptions {
  /** Added to the connector's clock in this process. */
  readonly skewMs?: () => number;
  /** Added to its wall clock only, as after a sleep. */
  readonly sleptMs?: () => number;
}

const root = join(import.meta.dirname, "../../..");

export function createSite(options: SiteOptions = {}): Site {
  const folder = mkdtempSync(join(tmpdir(), "causeway-site-"));
  const pair = generateKeyPairSync("ed25519");
  const { x = "", d = "" } = pair.privateKey.export({ format: "jwk" });
  const key = { kty: "OKP", crv: "Ed25519", x, d } as const;
  const publicKey = publicJwk.parse({ kty: "OKP", crv: "Ed25519", x, kid: "key-1" });
  const credentials = join(folder, "plant-1.json");
  const content = {
    relayUrl: "http://127.0.0.1:9",
    tenant: "acme",
    connector: "plant-1",
    keyId: "key-1",
    privateKey: key,
  };
  writeFileSync(credentials, JSON.stringify(content), { mode: 0o600 });
  const log: string[] = [];
  const connectors: Connector[] = [];
  const children: ChildProcess[] = [];
  const servers: Server[] = [];

  const run = (args: readonly string[], env: NodeJS.ProcessEnv): SiteProcess => {
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    children.push(child);
    let output = "";
    child.stdout.on("data", (data: Buffer) => (output += data.toString()));
    child.stderr.on("data", (data: Buffer) => (output += data.toString()));
    const exit = new Promise<number | string>((resolve) =>
      child.once("close", (code, signal) => resolve(code ?? signal ?? "?")),
    );
    return { child, output: () => output, exit };
  };

  return {
    folder,
    credentials,
    publicKey,
    log,
    connector({ relay, ...change }) {
      const connector = startConnector(
        {
          relayUrl: new URL(relay),
          tenant: "acme",
          connector: "plant-1",
          credential: { kind: "key", keyId: "key-1", privateKey: key },
          pushedTargets: true,
          pushedFile: null,
          instanceId: "test-1",
          lanes: ["a", "b"],
          ca: null,
          drainTimeoutMs: 5_000,
          backoffCapMs: 500,
          healthPort: null,
          proxyEnv: {},
          ...change,
        },
        {
          log: createLogger("connector", (line) => log.push(line)),
          now: () => Date.now() + (options.skewMs?.() ?? 0) + (options.sleptMs?.() ?? 0),
          monotonic: () => performance.now() + (options.skewMs?.() ?? 0),
          random: Math.random,
          audit: { level: "all", write: (lines) => log.push(...lines.split("\n")) },
        },
      );
      connectors.push(connector);
      return connector;
    },
    process: (relay, args, env = {}) =>
      run([join(root, "src/cli/main.ts"), "connect", "--credentials", credentials, "--url", relay, ...args], {
        ...process.env,
        ...env,
      }),
    command: (args, env = {}) => run([join(root, "src/cli/main.ts"), ...args], { ...process.env, ...env }),
    async target(listener, prepare) {
      const server = createServer(listener);
      prepare?.(server);
      servers.push(server);
      return `http://127.0.0.1:${await listenOnLoopback(server)}`;
    },
    async demoTarget() {
      const { child, output } = run([join(root, "local-stack/demo-target/main.ts")], { ...process.env, PORT: "0" });
      const port = await new Promise<string>((resolve, reject) => {
        child.stdout?.on("data", () => {
          const [, found] = /on port ([0-9]+)/.exec(output()) ?? [];
          if (found !== undefined) resolve(found);
        });
        child.once("exit", () => reject(new Error(`the demo target ended: ${output()}`)));
      });
      return `http://127.0.0.1:${port}`;
    },
    async close() {
      for (const connector of connectors) connector.stop();
      await Promise.all(connectors.map(({ done }) => done));
      for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      for (const server of servers) {
        server.closeAllConnections();
        server.close();
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A web target as the configuration file says it. */
export function web(
  name: string,
  url: string,
  timeoutMs = 10_000,
  settings: Readonly<Record<string, unknown>> = {},
): ConnectorConfig["targets"][number] {
  const parsed = parseTarget({ name, settings: { url, timeout: timeoutMs / 1000, ...settings }, folder: tmpdir() });
  if (!parsed.ok) throw new Error(parsed.error);
  if (parsed.value === null) throw new Error(`${name} is disabled`);
  return parsed.value;
}
