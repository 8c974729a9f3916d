import { beforeAll, describe, expect, it } from "vitest";
import { connect, grantConnector, laneStub, until, visit, type Peer } from "./peer.ts";

const ACME = "ten_acme";
let peer: Peer;

beforeAll(async () => {
  peer = await connect(await grantConnector(ACME, "acme"));
  peer.onOpen = (stream, request) => {
    stream.respond(
      { status: 101, headers: request.headers.filter(([name]) => name === "sec-websocket-protocol") },
      false,
    );
    return {
      message: (message) => {
        stream.consumed(message.creditBytes);
        stream.sendMessage(message.kind, message.data);
      },
      messageClose: (code, reason) => stream.sendMessageClose(code, reason),
    };
  };
});

interface Visitor {
  readonly socket: WebSocket;
  readonly got: (string | number)[];
  readonly closed: Promise<{ code: number; reason: string }>;
}

async function open(headers: Record<string, string> = {}, tenantId = ACME): Promise<Visitor> {
  const response = await visit(tenantId, "/ws", {
    headers: { upgrade: "websocket", connection: "upgrade", ...headers },
  });
  const socket = response.webSocket;
  if (socket === null) throw new Error(`no socket: ${response.status}`);
  if (headers["sec-websocket-protocol"] !== undefined) {
    expect(response.headers.get("sec-websocket-protocol")).toBe(headers["sec-websocket-protocol"]);
  }
  const got: (string | number)[] = [];
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  socket.accept({ allowHalfOpen: true });
  socket.binaryType = "arraybuffer";
  socket.addEventListener(
    "message",
    ({ data }) => void got.push(typeof data === "string" ? data : new Uint8Array(data).length),
  );
  socket.addEventListener("close", ({ code, reason }) => closed.resolve({ code, reason }));
  return { socket, got, closed: closed.promise };
}

describe("a visitor's WebSocket", () => {
  it("carries text, binary, empty and long messages in order, with its subprotocol", async () => {
    const { socket, got, closed } = await open({ "sec-websocket-protocol": "chat" });
    socket.send("héllo");
    socket.send(new Uint8Array(0));
    socket.send("");
    socket.send(new Uint8Array(3 * 1024 * 1024));
    socket.send("last");
    await until("all came back", () => got.length === 5);
    expect(got).toEqual(["héllo", 0, "", 3 * 1024 * 1024, "last"]);
    socket.close(1000, "done");
    expect(await closed).toEqual({ code: 1000, reason: "done" });
    await until("the stream is over", () => peer.session.openStreams === 0);
  });

  it("passes close codes and reasons of both sides, and a close without a code", async () => {
    const first = await open();
    first.socket.close(4321, "vísitor");
    expect(await first.closed).toEqual({ code: 4321, reason: "vísitor" });

    const { onOpen } = peer;
    peer.onOpen = (stream) => {
      stream.respond({ status: 101, headers: [] }, false);
      stream.sendMessage("text", new TextEncoder().encode("hi"));
      stream.sendMessageClose(3001, "target");
      return {};
    };
    const second = await open();
    expect(await second.closed).toEqual({ code: 3001, reason: "target" });
    expect(second.got).toEqual(["hi"]);
    second.socket.close();

    const codes: number[] = [];
    peer.onOpen = (stream) => {
      stream.respond({ status: 101, headers: [] }, false);
      return {
        messageClose: (code) => {
          codes.push(code);
          stream.sendMessageClose(code, "");
        },
      };
    };
    const third = await open();
    third.socket.close();
    expect((await third.closed).code).toBe(1005);
    expect(codes).toEqual([1005]);
    peer.onOpen = onOpen;
    await until("all streams are over", () => peer.session.openStreams === 0);
  });

  it("gets the target's own answer when it does not upgrade", async () => {
    const { onOpen } = peer;
    peer.onOpen = (stream) => {
      stream.respond({ status: 403, headers: [["x-own", "1"]] }, false);
      stream.write(new TextEncoder().encode("no"));
      stream.end();
      return {};
    };
    const response = await visit(ACME, "/ws", { headers: { upgrade: "websocket" } });
    expect([response.status, response.headers.get("x-own"), await response.text()]).toEqual([403, "1", "no"]);
    peer.onOpen = onOpen;
  });

  it("is closed with a reason when the target breaks off or the connector goes away", async () => {
    const { onOpen } = peer;
    let cut = (): void => undefined;
    peer.onOpen = (stream) => {
      stream.respond({ status: 101, headers: [] }, false);
      cut = () => stream.reset("target-reset", "gone");
      return {};
    };
    const first = await open();
    cut();
    expect(await first.closed).toEqual({ code: 1011, reason: "target-reset" });
    first.socket.close();
    const second = await open();
    peer.onOpen = onOpen;
    peer.socket.close(1001, "going");
    expect(await second.closed).toEqual({ code: 1011, reason: "connector-lost" });
    second.socket.close();
  });

  it("is closed with 1012 at the end of a drain of its lane: it may connect again at once", async () => {
    const other = await connect(await grantConnector("ten_acme_eu", "acme@eu"), { onOpen: peer.onOpen });
    const socket = await open({}, "ten_acme_eu");
    await laneStub("ten_acme_eu").drain(100);
    expect(await socket.closed).toEqual({ code: 1012, reason: "the relay is being replaced, connect again" });
    expect((await other.closed).code).toBe(4410);
    socket.socket.close();
  });
});
