import { readFileSync } from "node:fs";
import { type IncomingHttpHeaders, request as httpRequest } from "node:http";
import { join } from "node:path";
import { inject } from "vitest";
import { type Api, createApi } from "../../src/cli/api/client.ts";
import { type LocalStack, localStack } from "../../src/cli/local/local-json.ts";
import { isFree } from "../../src/cli/local/ports.ts";
import { type StatusFile, readStatus } from "../../src/cli/local/status-file.ts";
import { type CliResult, runCli } from "./cli.ts";

/** Edge ports of test stacks: below the ephemeral range and apart from the ports that stacks choose for themselves. */
const EDGE_PORTS = { from: 10_000, to: 11_998 };

export interface EdgeAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON; throws when it is none. */
  json(): Record<string, unknown>;
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly timeoutMs?: number;
}

/** A running local stack of its own, with real parts. */
export interface TestStack extends LocalStack {
  readonly stateDir: string;
  readonly edgePort: number;
  readonly api: Api;
  /** A request to the edge with this host, for example `acme` or `demo--acme` (below the base domain), or a whole name. */
  request(host: string, path: string, options?: RequestOptions): Promise<EdgeAnswer>;
  /** `causeway ARGS` against this stack. */
  cli(...args: string[]): Promise<CliResult>;
  /** The supervisor's view of its parts. */
  parts(): StatusFile["parts"];
  /** What the parts logged so far. */
  log(part: string): string;
}

/**
 * The run's shared stack: started by the first test that asks, used by all test files, stopped by stack-setup.ts. Tests that kill or stop
 * things start one of their own (`startStack`).
 */
export async function sharedStack(): Promise<TestStack> {
  const dir = inject("stackDir");
  const running = readLocal(dir);
  return running === null ? await startStack(dir) : attach(dir, running);
}

/** Starts a stack in this folder on a free port (or the given one) and answers when it is ready. */
export async function startStack(
  stateDir: string,
  options: { edgePort?: number; flags?: readonly string[]; env?: Readonly<Record<string, string>> } = {},
): Promise<TestStack> {
  const port = options.edgePort ?? (await freeEdgePort());
  const flags = ["--detach", "--port", String(port), "--state-dir", stateDir, ...(options.flags ?? [])];
  const { code, stderr } = await runCli(["up", ...flags], options.env);
  const local = readLocal(stateDir);
  if (code !== 0 || local === null) throw new Error(`the local stack did not start (exit ${code}):\n${stderr}`);
  return attach(stateDir, local);
}

export async function stopStack(stateDir: string): Promise<void> {
  const { code, stderr } = await runCli(["down", "--state-dir", stateDir]);
  if (code !== 0) throw new Error(`the local stack did not stop (exit ${code}):\n${stderr}`);
}

/** A port of the edge whose next one, the console's, is free as well. */
export async function freeEdgePort(): Promise<number> {
  for (;;) {
    const port = EDGE_PORTS.from + Math.floor(Math.random() * (EDGE_PORTS.to - EDGE_PORTS.from));
    if ((await isFree(port)) && (await isFree(port + 1))) return port;
  }
}

function readLocal(stateDir: string): LocalStack | null {
  try {
    return localStack.parse(JSON.parse(readFileSync(join(stateDir, "local.json"), "utf8")));
  } catch {
    return null;
  }
}

function attach(stateDir: string, local: LocalStack): TestStack {
  const edgePort = Number(new URL(local.edgeUrl).port);
  return {
    ...local,
    stateDir,
    edgePort,
    api: createApi({ url: local.consoleUrl, token: local.apiToken }),
    request: (host, path, options = {}) =>
      request(edgePort, host.includes(".") ? host : `${host}.${local.baseDomain}`, path, options),
    cli: (...args) => runCli(args, { CAUSEWAY_STATE_DIR: stateDir }),
    parts: () => readStatus(join(stateDir, "status.json"))?.parts ?? [],
    log: (part) => readFileSync(join(stateDir, "logs", `${part}.log`), "utf8"),
  };
}

/** By Host header over loopback, so that no resolver is asked (fetch can't set Host). A connection of its own each time. */
function request(port: number, host: string, path: string, options: RequestOptions): Promise<EdgeAnswer> {
  const { method = "GET", headers = {}, body, timeoutMs = 10_000 } = options;
  return new Promise((resolve, reject) => {
    const asked = httpRequest(
      {
        host: "127.0.0.1",
        port,
        path,
        method,
        headers: { ...headers, host: `${host}:${port}` },
        agent: false,
        timeout: timeoutMs,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: () => JSON.parse(text) });
        });
      },
    );
    asked.once("timeout", () => asked.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    asked.once("error", reject);
    asked.end(body);
  });
}
