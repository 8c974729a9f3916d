import { createServer } from "node:net";
import { listenOnLoopback } from "./listen.ts";

/**
 * Below what Linux gives to outgoing connections (32768 and up, net.ipv4.ip_local_port_range): a connection of another test would
 * otherwise take a port between its choice and its use now and then.
 */
const FIRST_PORT = 15_000;
const PORTS = 17_000;

/** Free loopback ports, all different. Another program could take one before it is used; nothing on a test machine does. */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (await isFree(port)) found.add(port);
  }
  return [...found];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await listenOnLoopback(server, port).then(
    () => new Promise((resolve) => server.close(() => resolve(true))),
    () => false,
  );
}
