import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PublicJwk } from "../../../src/protocol/jwk.ts";
import { until } from "../../support/until.ts";

/** A file of `causeway relay` as data: JSON is YAML too. */
export type RelayFileData = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly raw: readonly string[];
  readonly trailers: IncomingMessage["trailers"];
  readonly body: string;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
  /** Without a byte of an answer. Default: 20 s. */
  readonly timeoutMs?: number;
}

/** The relay as people run it: a process with a configuration file. */
export interface RelayHost {
  readonly folder: string;
  readonly port: number;
  readonly adminPort: number;
  /** For connectors: relay.causeway.localhost. */
  readonly url: string;
  readonly child: ChildProcess;
  output(): string;
  readonly exit: Promise<number | string>;
  /** Replaces the file. */
  write(file: RelayFileData): void;
  /** `host`: without ".causeway.localhost", or a whole one. */
  ask(host: string, path: string, options?: Ask): Promise<Answer>;
  sessions(): Promise<readonly { connector: string; instanceId: string; lane: string; targets: string[] }[]>;
  /** Both lanes of so many instances are online. */
  online(sockets?: number): Promise<void>;
  stop(): Promise<void>;
}

const ROOT = join(import.meta.dirname, "../../..");

/** One tenant with one connector; `change` goes over its members. */
export function acme(key: PublicJwk, change: Record<string, unknown> = {}): Record<string, unknown> {
  return { connectors: { "plant-1": { keys: [key] } }, ...change };
}

export async function startRelayHost(
  file: RelayFileData,
  options: {
    lane?: "a" | "b";
    port?: number;
    adminPort?: number;
    folder?: string;
    env?: NodeJS.ProcessEnv;
    /** Of the shell, before it becomes the relay: "ulimit -n 100". */
    limit?: string;
  } = {},
): Promise<RelayHost> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "cw-relay-"));
  const config = join(folder, `relay${options.lane ?? ""}.yaml`);
  const listen = { visitors: `127.0.0.1:${options.port ?? 0}`, admin: `127.0.0.1:${options.adminPort ?? 0}` };
  const write = (data: RelayFileData): void =>
    writeFileSync(config, JSON.stringify({ listen, baseDomains: ["causeway.localhost"], ...data }));
  write(file);
  const args = [
    join(ROOT, "src/cli/main.ts"),
    "relay",
    "--config",
    config,
    ...(options.lane === undefined ? [] : ["--lane", options.lane]),
  ];
  const env = { ...process.env, ...options.env };
  const child = spawn("sh", ["-c", `${options.limit ?? ":"}; exec "$@"`, "sh", process.execPath, ...args], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let output = "";
  child.stderr.on("data", (data: Buffer) => (output += data.toString()));
  const exit = new Promise<number | string>((resolve) =>
    child.once("close", (code, signal) => resolve(code ?? signal ?? "?")),
  );
  const [, port, adminPort] = await until("the relay runs", () => {
    if (child.exitCode !== null) throw new Error(`it ended: ${output}`);
    return /"visitors":"[^"]*:([0-9]+)".*"admin":"[^"]*:([0-9]+)"/.exec(output);
  });
  const sessions: RelayHost["sessions"] = async () => {
    const response = await fetch(`http://127.0.0.1:${adminPort}/sessions`);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own process
    return ((await response.json()) as { sessions: Awaited<ReturnType<RelayHost["sessions"]>> }).sessions;
  };
  return {
    folder,
    port: Number(port),
    adminPort: Number(adminPort),
    url: `http://relay.causeway.localhost:${port}`,
    child,
    output: () => output,
    exit,
    write,
    ask: (host, path, asked = {}) => ask(Number(port), host, path, asked),
    sessions,
    async online(sockets = 2) {
      await until(`${sockets} sockets of connectors`, async () => (await sessions()).length >= sockets);
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await exit;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export const hostName = (host: string): string => (host.includes(".") ? host : `${host}.causeway.localhost`);

/** One request over a connection of its own. */
export function ask(
  port: number,
  host: string,
  path: string,
  { method = "GET", headers = {}, body, timeoutMs = 20_000 }: Ask = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(
      {
        host: "127.0.0.1",
        port,
        path,
        method,
        headers: { host: `${hostName(host)}:${port}`, ...headers },
        agent: false,
        timeout: timeoutMs,
      },
      (response) => {
        let text = "";
        response.setEncoding("latin1");
        response.on("data", (part: string) => (text += part));
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            raw: response.rawHeaders,
            trailers: response.trailers,
            body: text,
          }),
        );
      },
    );
    asked.on("timeout", () => asked.destroy(new Error(`no answer in ${timeoutMs} ms`)));
    asked.on("error", reject);
    asked.end(body);
  });
}
