import { createServer, type Server as HttpServer } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { createServer as createTcpServer, type Server } from "node:net";
import { Server as GrpcServer, ServerCredentials, status, type handleUnaryCall } from "@grpc/grpc-js";
import { afterAll, expect, test } from "vitest";
import { lookAt } from "../../src/node-agent/services/health-check.ts";
import { METHODS } from "../support/grpc.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { freePorts } from "../support/ports.ts";

// Real servers of each protocol, as the agent looks at them.
const opened: (() => void)[] = [];
afterAll(() => opened.forEach((close) => close()));

async function opening(server: Server | HttpServer): Promise<number> {
  opened.push(() => server.close());
  return listenOnLoopback(server);
}
async function grpc(answer: handleUnaryCall<Buffer, Buffer> | null): Promise<number> {
  const server = new GrpcServer();
  if (answer !== null) server.addService({ health: METHODS.health }, { health: answer });
  opened.push(() => server.forceShutdown());
  return new Promise((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    ),
  );
}
const says = (byte: number) => grpc((_call, callback) => callback(null, Buffer.from([0x08, byte])));
const look = (port: number, healthPath: string | null, protocol: "http" | "h2c" | "mqtt" = "h2c") =>
  lookAt({ protocol, healthPath }, { address: "127.0.0.1", port });
const CHECK = METHODS.health.path;

test("gRPC's own health check: only a server that says that it is serving is healthy", async () => {
  expect(await look(await says(1), CHECK)).toBe(null);
  expect(await look(await says(2), CHECK)).toMatch(/not serving/);
  expect(await look(await grpc(null), CHECK)).toMatch(/status 12/);
  const failing = await grpc((_call, callback) => callback({ code: status.UNAVAILABLE }));
  expect(await look(failing, CHECK)).toMatch(/status 14/);
});

test("HTTP/2 by a path, or at all", async () => {
  const port = await opening(
    createHttp2((request, response) => response.writeHead(request.url === "/good" ? 204 : 500).end()),
  );
  expect(await look(port, "/good")).toBe(null);
  expect(await look(port, "/bad")).toBe("/bad answered 500");
  expect(await look(port, null)).toBe(null);
});

test("what does not speak the protocol, or is not there, is not healthy", async () => {
  const old = await opening(createServer((_request, response) => response.end("ok")));
  expect(await look(old, "/", "http")).toBe(null);
  for (const path of ["/", null, CHECK]) expect(await look(old, path)).toEqual(expect.any(String));
  const [nobody = 0] = await freePorts(1);
  for (const protocol of ["http", "h2c", "mqtt"] as const)
    expect(await look(nobody, null, protocol)).toMatch(/ECONNREFUSED/);
});

test("who takes the connection and says nothing is given up on", async () => {
  const silent = await opening(createTcpServer(() => undefined));
  expect(await look(silent, null)).toBe("no answer in time");
});
