import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { dial } from "../../src/connector/dial.ts";
import { until } from "../support/until.ts";

// A dial to a name with several addresses, the first of which is slow to answer.
const ends: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

/** Listens with a queue of one and answers every request with 503. Stopped with a signal, it lets the queue fill: the system then drops SYNs. */
const SERVER = `
  const server = require("node:http").createServer((_, response) => response.writeHead(503).end());
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port));
  server.on("upgrade", (_, socket) => socket.on("error", () => socket.destroy()).end("HTTP/1.1 503 Busy\\r\\ncontent-length: 0\\r\\n\\r\\n"));
`;

test("an address that answers after a second is not given up for another one that refuses", async () => {
  const server = spawn(process.execPath, ["-e", SERVER], { stdio: ["ignore", "pipe", "inherit"] });
  ends.push(() => server.kill("SIGKILL"));
  const [line]: Buffer[] = await once(server.stdout, "data");
  const port = Number(line?.toString());
  server.kill("SIGSTOP");
  const filling: Socket[] = [];
  await until("its queue is full", async () => {
    const socket = connect(port, "127.0.0.1").on("error", () => undefined);
    filling.push(socket);
    ends.push(() => socket.destroy());
    return (
      (await Promise.race([once(socket, "connect"), new Promise((resolve) => setTimeout(resolve, 200))])) === undefined
    );
  });

  let outcome: string | null = null;
  const startedMs = performance.now();
  ends.push(
    dial(
      {
        // 127.0.0.1 first, then ::1, where nothing listens.
        pass: () => Promise.resolve({ ok: true, value: { url: new URL(`ws://relay.localhost:${port}/`), token: "t" } }),
        proxyEnv: {},
        ca: null,
        now: Date.now,
        software: "test",
      },
      {
        opened: () => (outcome = "opened"),
        failed: ({ text }) => (outcome = text),
      },
    ),
  );
  await until("it has waited for longer than a first answer usually takes", () => performance.now() - startedMs > 600);
  server.kill("SIGCONT");
  expect(await until("it is over", () => outcome)).toContain("status 503");
});
