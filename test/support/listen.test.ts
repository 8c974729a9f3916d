import { createServer } from "node:http";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { listenOnLoopback } from "./listen.ts";

test("a client that resets its connection at an upgrade does not end the process of a test's server", async () => {
  const server = createServer();
  const upgraded = new Promise<Duplex>((resolve) => server.once("upgrade", (_request, socket) => resolve(socket)));
  const client = connect(await listenOnLoopback(server), "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
  const socket = await upgraded;
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.resume();
  client.resetAndDestroy();
  expect(await closed).toBe(true);
  server.close();
});
