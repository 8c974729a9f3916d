import { connect, createServer, type Server, type Socket } from "node:net";
import { listenOnLoopback } from "./listen.ts";

/** A TCP port before another one, which can be shut: connections through it end, and new ones are refused. */
export interface TcpGate {
  readonly port: number;
  shut(): Promise<void>;
  open(): Promise<void>;
  /**
   * Nothing passes any more, and nobody is told: what a middlebox does that forgot the connection. Until `thaw`. `way`: "in" to the port behind,
   * "out" from it; without, neither.
   */
  freeze(way?: "in" | "out"): void;
  thaw(): void;
  close(): Promise<void>;
}

export async function startTcpGate(targetPort: number): Promise<TcpGate> {
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  const pairs = new Map<Socket, { readonly other: Socket; readonly way: "in" | "out" }>();
  let frozen: "in" | "out" | "both" | null = null;
  const isFrozen = (way: "in" | "out"): boolean => frozen === "both" || frozen === way;
  let port = 0;
  const open = async (): Promise<void> => {
    const opened = createServer({ noDelay: true }, (inner) => {
      const outer = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
      for (const [one, other, way] of [
        [inner, outer, "in"],
        [outer, inner, "out"],
      ] as const) {
        sockets.add(one);
        if (isFrozen(way)) one.pause();
        else one.pipe(other);
        pairs.set(one, { other, way });
        one.on("error", () => other.destroy());
        one.on("close", () => {
          sockets.delete(one);
          pairs.delete(one);
          other.destroy();
        });
      }
    });
    port = await listenOnLoopback(opened, port);
    server = opened;
  };
  const shut = async (): Promise<void> => {
    const shutting = server;
    server = null;
    const closed = new Promise((resolve) => (shutting === null ? resolve(null) : shutting.close(resolve)));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const freeze = (way?: "in" | "out"): void => {
    frozen = way ?? "both";
    for (const [one, pair] of pairs) {
      if (!isFrozen(pair.way)) continue;
      one.unpipe(pair.other);
      one.pause();
    }
  };
  const thaw = (): void => {
    for (const [one, { other, way }] of pairs) if (isFrozen(way)) one.pipe(other);
    frozen = null;
  };
  await open();
  return { port, open, shut, freeze, thaw, close: shut };
}
