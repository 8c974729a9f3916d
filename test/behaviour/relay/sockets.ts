import { expect, it } from "vitest";
import { Refused, type Peer } from "./host.ts";
import { respond, until } from "./peer.ts";
import type { Stage } from "./suite.ts";

const echo: Peer["onOpen"] = (stream, request) => {
  stream.respond(
    { status: 101, headers: request.headers.filter(([name]) => name.toLowerCase() === "sec-websocket-protocol") },
    false,
  );
  return {
    message(message) {
      stream.consumed(message.creditBytes);
      stream.sendMessage(message.kind, message.data.slice());
    },
    messageClose: (code, reason) => stream.sendMessageClose(code, reason),
  };
};

export function sockets(stage: Stage): void {
  it("carries text, binary, empty and long messages in order, with the subprotocol that the target chose", async () => {
    await stage.connector(echo);
    const socket = await stage.host.socket({ path: "/ws" }, ["chat.v2"]);
    expect(socket.protocol).toBe("chat.v2");
    const long = new Uint8Array(300_000).fill(7);
    socket.send("text ü");
    socket.send(new Uint8Array(3));
    socket.send("");
    socket.send(long);
    await until("all came back", () => socket.got.length === 4);
    expect(socket.got).toEqual(["text ü", 3, "", long.length]);
    socket.close(4001, "enough");
    expect(await socket.closed).toEqual({ code: 4001, reason: "enough" });
  });

  it("passes the target's close on, with code and reason", async () => {
    await stage.connector((stream) => {
      stream.respond({ status: 101, headers: [] }, false);
      stream.sendMessageClose(4321, "the target is done");
      return { messageClose: () => undefined };
    });
    const socket = await stage.host.socket({ path: "/ws" });
    expect(await socket.closed).toEqual({ code: 4321, reason: "the target is done" });
  });

  it("gives an ordinary answer where the target refuses the upgrade", async () => {
    await stage.connector((stream) => {
      respond(stream, "no sockets here", 403);
      return {};
    });
    await expect(stage.host.socket({ path: "/ws" })).rejects.toMatchObject({ status: 403 });
    await expect(stage.host.socket({ path: "/ws" })).rejects.toBeInstanceOf(Refused);
  });

  it("ends a visitor's socket with 1011 when the connector is gone, and leaves nothing behind", async () => {
    const peer = await stage.connector(echo);
    const socket = await stage.host.socket({ path: "/ws" });
    peer.cut();
    expect((await socket.closed).code).toBe(1011);
  });
}
