import { createServer, type Server } from "node:http";
import { WebSocketServer, type WebSocket } from "ws";
import { enrolRequest, fromAgent, type FromAgent, type ToAgent } from "../../src/protocol/node-channel.ts";
import { listenOnLoopback } from "./listen.ts";

/** The far end of a node channel in the test's own hands: says what it likes, refuses when it likes, and keeps what agents say. */
export interface ChannelPeer {
  readonly relayUrl: string;
  /** All messages of all connections, oldest first. */
  readonly received: FromAgent[];
  /** Milliseconds at which agents dialled. */
  readonly dialledAtMs: number[];
  /** HTTP status for the next dials; 101 lets them in. */
  answerWith(status: number): void;
  send(message: ToAgent): void;
  /** Ends the agent's connection. */
  drop(code?: number, reason?: string): void;
  newNode(nodeId: string, node: string): Promise<string>;
  close(): Promise<void>;
}

export async function startChannelPeer(): Promise<ChannelPeer> {
  const received: FromAgent[] = [];
  const dialledAtMs: number[] = [];
  const nodes = new Map<string, string>();
  let status = 101;
  let socket: WebSocket | null = null;
  const sockets = new WebSocketServer({ noServer: true });
  const server: Server = createServer((request, response) => {
    let body = "";
    request.on("data", (part: Buffer) => (body += part.toString()));
    request.on("end", () => {
      const nodeId = enrolRequest.parse(JSON.parse(body)).token.split(".")[0] ?? "";
      response.end(JSON.stringify({ nodeId, node: nodes.get(nodeId) }));
    });
  });
  server.on("upgrade", (request, connection, head) => {
    dialledAtMs.push(Date.now());
    if (status !== 101) {
      connection.end(`HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, connection, head, (opened) => {
      socket = opened;
      opened.on("message", (data: Buffer) => received.push(fromAgent.parse(JSON.parse(data.toString()))));
    });
  });
  const port = await listenOnLoopback(server);
  return {
    relayUrl: `http://relay.causeway.localhost:${port}`,
    received,
    dialledAtMs,
    answerWith(next) {
      status = next;
    },
    send: (message) => socket?.send(JSON.stringify(message)),
    drop: (code, reason) => socket?.close(code, reason),
    newNode(nodeId, node) {
      nodes.set(nodeId, node);
      return Promise.resolve(`${nodeId}.secret`);
    },
    async close() {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
