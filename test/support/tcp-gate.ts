import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP port before another one, which can be shut: connections through it end, and new ones are refused. */
export interface TcpGate {
  readonly port: number;
  shut(): Promise<void>;
  open(): Promise<void>;
  /** Nothing passes any more in either direction, and nobody is told: what a middlebox does that forgot the connection. Until `thaw`. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

export async function startTcpGate(targetPort: number): Promise<TcpGate> {
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  const pairs = new Map<Socket, Socket>();
  let frozen = false;
  let port = 0;
  const open = async (): Promise<void> => {
    const opened = createServer((inner) => {
      const outer = connect(targetPort, "127.0.0.1");
      if (frozen) for (const socket of [inner, outer]) socket.pause();
      for (const [one, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        sockets.add(one);
        if (!frozen) one.pipe(other);
        pairs.set(one, other);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          sockets.delete(one);
          pairs.delete(one);
          other.destroy();
        });
      }
    });
    await new Promise<void>((resolve, reject) => {
      opened.once("error", reject);
      opened.listen(port, "127.0.0.1", resolve);
    });
    const address = opened.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    ({ port } = address);
    server = opened;
  };
  const shut = async (): Promise<void> => {
    const shutting = server;
    server = null;
    const closed = new Promise((resolve) => (shutting === null ? resolve(null) : shutting.close(resolve)));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const freeze = (): void => {
    frozen = true;
    for (const [one, other] of pairs) {
      one.unpipe(other);
      one.pause();
    }
  };
  const thaw = (): void => {
    frozen = false;
    for (const [one, other] of pairs) one.pipe(other);
  };
  await open();
  return { port, open, shut, freeze, thaw, close: shut };
}
