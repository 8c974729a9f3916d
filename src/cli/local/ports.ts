import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { z } from "zod";
import { CliError, EXIT } from "../frame/exit.ts";
import { PORT_RANGE_FIRST, PORT_RANGE_LAST, PORT_TRIES } from "../limits.ts";
import { readJson, writeJson } from "./files.ts";

const portsFile = z.record(z.string(), z.number().int().min(1).max(65535));

/** Whether a server could listen on 127.0.0.1 at this port now. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** The ports that people gave or expect: taken ones are an error that names them. */
export async function demandPort(port: number, what: string): Promise<void> {
  if (await isFree(port)) return;
  throw new CliError(
    EXIT.environment,
    `port ${port} (${what}) is in use by another program`,
    "Stop that program, or choose another edge port: causeway up --port N (the console takes N+1).",
  );
}

/**
 * Ports nobody chose, by name. They stay the same for the life of the data: nodes' and databases' addresses are published with them. So a
 * kept port that is taken by another program is an error too.
 */
export async function choosePorts(
  path: string,
  names: readonly string[],
  avoid: readonly number[],
): Promise<Map<string, number>> {
  const known = readJson(path, portsFile) ?? {};
  const chosen = new Map<string, number>();
  const taken = (port: number) =>
    avoid.includes(port) || Object.values(known).includes(port) || [...chosen.values()].includes(port);
  for (const name of names) {
    const before = known[name];
    if (before !== undefined && !(await isFree(before))) {
      throw new CliError(
        EXIT.environment,
        `port ${before} (${name} of this stack) is in use by another program`,
        "Stop that program, or start anew without the old data: causeway up --fresh",
      );
    }
    chosen.set(name, before ?? (await findFree(taken)));
  }
  writeJson(path, { ...known, ...Object.fromEntries(chosen) });
  return chosen;
}

async function findFree(taken: (port: number) => boolean): Promise<number> {
  for (let tries = 0; tries < PORT_TRIES; tries++) {
    const port = randomInt(PORT_RANGE_FIRST, PORT_RANGE_LAST + 1);
    if (!taken(port) && (await isFree(port))) return port;
  }
  throw new CliError(EXIT.environment, `no free port between ${PORT_RANGE_FIRST} and ${PORT_RANGE_LAST}`);
}
