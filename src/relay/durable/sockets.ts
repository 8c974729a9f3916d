import { z } from "zod";
import { hello } from "../../protocol/tunnel/control.ts";
import type { RestoredLink, Socket } from "../core/types.ts";

/** What survives sleep and eviction with the socket. At most 16 KiB: 2 x 256 targets of 20 characters are 12. */
const attachment = z.object({
  v: z.literal(2),
  state: z.enum(["live", "draining", "closed"]),
  sessionId: z.string(),
  connectorId: z.string(),
  credential: z.object({
    kind: z.enum(["key", "secret", "issuer"]),
    id: z.string(),
    expiresAtMs: z.number().nullable(),
  }),
  sinceMs: z.number(),
  peer: hello.omit({ versions: true }).extend({ version: z.number() }).nullable(),
  unhealthy: z.array(z.string()),
});

/** A connector's socket that may sleep, as the broker wants it. The runtime does not tell what waits in it. */
export const brokerSocket = (socket: WebSocket): Socket => ({
  send: (message) => socket.send(message),
  close(code, reason) {
    try {
      socket.close(code, reason);
    } catch {
      // The peer was faster: there is nothing left to close.
    }
  },
  bufferedBytes: 0,
  remember: (link) => socket.serializeAttachment(link),
});

/** Null: not ours any more. */
export function restoredLink(socket: WebSocket): RestoredLink | null {
  const parsed = attachment.safeParse(socket.deserializeAttachment());
  if (!parsed.success || parsed.data.state === "closed" || socket.readyState !== WebSocket.READY_STATE_OPEN)
    return null;
  return parsed.data;
}

/** The runtime answers a close by itself on ordinary sockets only; without one a hibernatable socket of the peer hangs half closed. */
export function answerClose(socket: WebSocket, code: number): void {
  try {
    if (code === 1000 || (code >= 3000 && code < 5000)) socket.close(code);
    else socket.close(1000);
  } catch {
    // It was we who closed first, or the peer is gone: there is nobody to answer.
  }
}
