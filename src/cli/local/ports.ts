import { randomInt } from "node:crypto";
import { type Server, createServer } from "node:net";
import { z } from "zod";
import { CliError, EXIT } from "../frame/exit.ts";
import { PORT_RANGE_FIRST, PORT_RANGE_LAST, PORT_TRIES } from "../limits.ts";
import { readJson, writeJson } from "./files.ts";

const portsFile = z.record(z.string(), z.number().int().min(1).max(65535));

/** Listens on 127.0.0.1 at this port, so that nobody else gets it; null when somebody has it. */
function hold(port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", () => resolve(null));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => resolve(server));
  });
}

/** Whether a server could listen on 127.0.0.1 at this port now. */
export async function isFree(port: number): Promise<boolean> {
  const server = await hold(port);
  if (server === null) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}

/** The ports that people gave or expect: taken ones are an error that names them. */
export async function demandPort(port: number, what: string): Promise<void> {
  if (await isFree(port)) return;
  throw new CliError(
    EXIT.environment,
    `port ${port} (${what}) is in use by another program`,
    "Stop that program, or choose another edge port: npx causeway up --port N (the console takes N+1).",
  );
}

export interface HeldPorts {
  get(name: string): number;
  /** Lets the part have its port: until then it is held, as another stack may be looking for ports right now. */
  release(name: string): void;
  releaseAll(): void;
}

/**
 * Ports nobody chose, by name. They stay the same for the life of the data: nodes' and databases' addresses are published with them. So a
 * kept port that is taken by another program is an error too.
 */
export async function choosePorts(
  path: string,
  names: readonly string[],
  avoid: readonly number[],
): Promise<HeldPorts> {
  const known = readJson(path, portsFile) ?? {};
  const held = new Map<string, { port: number; server: Server }>();
  const releaseAll = () => {
    for (const { server } of held.values()) server.close();
  };
  try {
    for (const name of names) {
      const before = known[name];
      held.set(name, before === undefined ? await holdFree(avoid) : await holdKept(name, before));
    }
  } catch (error) {
    releaseAll();
    throw error;
  }
  writeJson(path, { ...known, ...Object.fromEntries([...held].map(([name, { port }]) => [name, port])) });
  const find = (name: string) => {
    const found = held.get(name);
    if (found === undefined) throw new Error(`there is no port ${name}`);
    return found;
  };
  return { get: (name) => find(name).port, release: (name) => void find(name).server.close(), releaseAll };
}

async function holdKept(name: string, port: number): Promise<{ port: number; server: Server }> {
  const server = await hold(port);
  if (server !== null) return { port, server };
  throw new CliError(
    EXIT.environment,
    `port ${port} (${name} of this stack) is in use by another program`,
    "Stop that program, or start anew without the old data: npx causeway up --fresh",
  );
}

async function holdFree(avoid: readonly number[]): Promise<{ port: number; server: Server }> {
  for (let tries = 0; tries < PORT_TRIES; tries++) {
    const port = randomInt(PORT_RANGE_FIRST, PORT_RANGE_LAST + 1);
    const server = avoid.includes(port) ? null : await hold(port);
    if (server !== null) return { port, server };
  }
  throw new CliError(EXIT.environment, `no free port between ${PORT_RANGE_FIRST} and ${PORT_RANGE_LAST}`);
}
