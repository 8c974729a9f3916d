import { join } from "node:path";
import { startChild, type Child } from "../core/children.ts";
import type { Path } from "../core/types.ts";
import type { Hop } from "../scenarios/yardsticks.ts";

/** Where a tunnel is set up. */
export interface Site {
  /** Its own: files and logs. */
  readonly folder: string;
  readonly origin: Hop;
  /** Given the port where the server takes its client, the one that the client dials: the same, or that of a longer way to it. */
  readonly dial: (serverPort: number) => Promise<number>;
}

export interface RunningTunnel {
  readonly path: Path;
  readonly stop: () => Promise<void>;
}

/** Something that brings requests to an origin: ours, a peer, or a plain proxy. */
export interface Tunnel {
  readonly key: string;
  readonly title: string;
  /** Null when the program is not on this machine. Rejects when it does not come up. */
  start(site: Site): Promise<RunningTunnel | null>;
}

/** A way that costs nothing. */
export const straight: Site["dial"] = async (port) => port;

/** A way of that length to whatever asks for one; `stop` ends all of them. */
export function longWay(
  folder: string,
  oneWayMs: number,
  loss: number,
): { dial: Site["dial"]; stop: () => Promise<void> } {
  const proxies: Child[] = [];
  return {
    async dial(port) {
      const proxy = await startChild({
        name: `delay-${port}`,
        folder,
        command: process.execPath,
        args: [
          join(import.meta.dirname, "../processes/delay-proxy.ts"),
          "0",
          String(port),
          String(oneWayMs),
          String(loss),
        ],
      });
      proxies.push(proxy);
      return Number(await proxy.until(() => /^(\d+)\n/.exec(proxy.log())?.[1] ?? null));
    },
    async stop() {
      await Promise.all(proxies.map((proxy) => proxy.stop()));
    },
  };
}
