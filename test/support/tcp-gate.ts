import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP port before another one, which can be shut: connections through it end, and new ones are refused. */
export interface TcpGate {
  readonly port: number;
  shut(): Promise<void>;
  open(): Promise<void>;
  close(): Promise<void>;
}

export async function startTcpGate(targetPort: number): Promise<TcpGate> {
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  let port = 0;
  const open = async (): Promise<void> => {
    const opened = createServer((inner) => {
      const outer = connect(targetPort, "127.0.0.1");
      for (const [one, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        sockets.add(one);
        one.pipe(other);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          sockets.delete(one);
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
  await open();
  return { port, open, shut, close: shut };
}
