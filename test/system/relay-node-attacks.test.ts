import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { runCli } from "../support/cli.ts";
import { until } from "../support/until.ts";
import { createSite, type Site } from "./connector/site.ts";
import { acme, hostName, startRelayHost, type RelayHost } from "./relay-node/host.ts";

// What somebody does who means harm to `causeway relay`, over sockets of their own.
const MIB = 1024 * 1024;
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";

let site: Site;
let relay: RelayHost;
let handle: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) => response.end("ok");

beforeAll(async () => {
  site = createSite();
  const own = await site.target(
    (request, response) => handle(request, response),
    (server) => {
      const sockets = new WebSocketServer({ server });
      sockets.on("connection", (ws) => ws.on("message", (data, binary) => ws.send(data, { binary })));
    },
  );
  relay = await startRelayHost({ tenants: { acme: acme(site.publicKey) } });
  site.process(relay.url, ["--target", `own=${own}`]);
  await relay.online(2);
}, 60_000);
afterAll(async () => {
  await site.close();
  await relay.stop();
});

const HOST = hostName("own--acme");

/** A connection that says what it is told, and keeps what it hears. */
async function dial(bytes: string): Promise<{ socket: Socket; heard: () => string }> {
  const socket = connect(relay.port, "127.0.0.1");
  let heard = "";
  socket.on("data", (data: Buffer) => (heard += data.toString("latin1")));
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write(bytes, "latin1");
  return { socket, heard: () => heard };
}

const handshake = (fields: string): string =>
  `GET /ws HTTP/1.1\r\nhost: ${HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\n${fields}\r\n`;
const GOOD = `sec-websocket-version: 13\r\nsec-websocket-key: ${KEY}\r\n`;

function residentMib(): number {
  const [, kib = "0"] = /VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${relay.child.pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}

test.skipIf(!existsSync("/proc/self/status"))(
  "WebSocket messages that never end cost a bounded amount of memory, and others go on",
  { timeout: 60_000 },
  async () => {
    const before = residentMib();
    const header = Buffer.alloc(14);
    header[0] = 0x82;
    header[1] = 0xff;
    header.writeBigUInt64BE(BigInt(8 * MIB), 2);
    const almost = Buffer.alloc(8 * MIB - 100);
    const attackers: Socket[] = [];
    for (let i = 0; i < 48; i++) {
      const { socket, heard } = await dial(handshake(GOOD));
      await until("the socket is there", () => heard().includes(" 101 "));
      socket.write(header);
      socket.write(almost);
      attackers.push(socket);
    }
    await until("all but eight are ended", () => attackers.filter(({ destroyed }) => destroyed).length >= 40);
    const visitor = new WebSocket(`ws://127.0.0.1:${relay.port}/ws`, { headers: { host: HOST } });
    await once(visitor, "open");
    visitor.send(Buffer.alloc(MIB));
    const [echo] = await once(visitor, "message");
    expect(echo).toHaveLength(MIB);
    visitor.close();
    expect(residentMib() - before).toBeLessThan(250); // of 384: 64 MiB, and what the collector has not looked at
    for (const socket of attackers) socket.destroy();
  },
);

test("a handshake that is no handshake gets an error of ours, and never reaches the target", async () => {
  for (const fields of [
    "sec-websocket-version: 13\r\n",
    `sec-websocket-version: 8\r\nsec-websocket-key: ${KEY}\r\n`,
    `${GOOD}sec-websocket-key: ${KEY}\r\n`,
    `${GOOD}sec-websocket-protocol: a,,b\r\n`,
  ]) {
    const { socket, heard } = await dial(handshake(fields));
    await until("an answer", () => heard().includes("\r\n\r\n"));
    expect(heard()).toMatch(/^HTTP\/1\.1 400 /);
    expect(heard()).toContain("causeway-error: bad-request");
    socket.destroy();
  }
});

test("trailers can't say what only the relay may say, in either direction", async () => {
  let got: NodeJS.Dict<string> = {};
  handle = (request, response) => {
    request.resume().on("end", () => {
      got = request.trailers;
      response.writeHead(200, { trailer: "x-sum" });
      response.write("answer");
      response.addTrailers({ "x-sum": "1", "causeway-error": "forged", "set-cookie": "causeway=forged" });
      response.end();
    });
  };
  const { socket, heard } = await dial(
    `POST / HTTP/1.1\r\nhost: ${HOST}\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n` +
      "2\r\nhi\r\n0\r\nx-sum: 2\r\ncauseway-tenant: globex\r\nx-forwarded-for: 10.0.0.1\r\n\r\n",
  );
  await until("the end of the answer", () => /\r\n0\r\n[^]*\r\n\r\n$/.test(heard()));
  expect(got).toEqual({ "x-sum": "2" });
  expect(heard()).toContain("x-sum: 1");
  expect(heard()).not.toContain("forged");
  socket.destroy();
});

test("init makes its folder, and says in a line what it can't write", async () => {
  const folder = mkdtempSync(join(tmpdir(), "cw-init-"));
  const inside = join(folder, "new", "relay");
  expect(await runCli(["relay", "init", "--dir", inside])).toMatchObject({ code: 0 });
  expect(existsSync(join(inside, "relay.yaml"))).toBe(true);
  const file = join(folder, "file");
  writeFileSync(file, "");
  const failed = await runCli(["relay", "init", "--dir", join(file, "below")]);
  expect(failed.code).toBe(4);
  expect(failed.stderr).toMatch(/can't be written to \(ENOTDIR\)\n$/);
  expect(failed.stderr).not.toContain("    at ");
  rmSync(folder, { recursive: true });
});
