/**
 * A path of some length between two ends of loopback: every byte of a connection arrives a fixed time later, in order, without a limit of
 * bandwidth. With loss, a segment that is "lost" comes a round trip later and holds up what follows it on its connection, as TCP does.
 *
 * Arguments: port to listen on (0: any), port to pass on to, one-way delay in ms, loss as a share. Prints its port.
 */
import { connect, createServer, type Socket } from "node:net";

const [listenPort = 0, targetPort = 0, oneWayMs = 0, loss = 0] = process.argv.slice(2).map(Number);
const SEGMENT_BYTES = 1_460;
/** Bytes on the way in one direction: what a path of 10 Gbit/s and 100 ms holds. More makes the sender wait, as full buffers would. */
const IN_FLIGHT_BYTES = 128 << 20;

function pass(from: Socket, to: Socket): void {
  const onTheWay: { chunk: Buffer | null; atMs: number }[] = [];
  let bytes = 0;
  let lastAtMs = 0;
  let timer: NodeJS.Timeout | null = null;

  const arrive = (): void => {
    timer = null;
    const nowMs = performance.now();
    to.cork();
    for (let next = onTheWay[0]; next !== undefined && next.atMs <= nowMs; next = onTheWay[0]) {
      onTheWay.shift();
      if (next.chunk === null) to.end();
      else {
        bytes -= next.chunk.length;
        to.write(next.chunk);
      }
    }
    to.uncork();
    if (bytes < IN_FLIGHT_BYTES / 2 && to.writableLength < IN_FLIGHT_BYTES) from.resume();
    plan();
  };
  const plan = (): void => {
    const [next] = onTheWay;
    if (timer === null && next !== undefined) timer = setTimeout(arrive, Math.max(1, next.atMs - performance.now()));
  };
  const send = (chunk: Buffer | null): void => {
    const segments = chunk === null ? 0 : Math.ceil(chunk.length / SEGMENT_BYTES);
    const isLost = loss > 0 && Math.random() < 1 - (1 - loss) ** segments;
    lastAtMs = Math.max(lastAtMs, performance.now() + oneWayMs + (isLost ? 2 * oneWayMs : 0));
    onTheWay.push({ chunk, atMs: lastAtMs });
    plan();
  };
  from.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > IN_FLIGHT_BYTES) from.pause();
    send(chunk);
  });
  from.on("end", () => send(null));
  from.on("close", () => {
    if (!from.readableEnded) to.destroy();
  });
  from.on("error", () => to.destroy());
}

const server = createServer({ allowHalfOpen: true }, (visitor) => {
  const target = connect({ host: "127.0.0.1", port: targetPort, allowHalfOpen: true });
  visitor.setNoDelay();
  target.setNoDelay();
  pass(visitor, target);
  pass(target, visitor);
});
server.listen(listenPort, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null) process.stdout.write(`${address.port}\n`);
});
