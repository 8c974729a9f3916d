import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** Ends a connection so that the peer can't take what it has for a complete answer: by a reset, which Node does not do under TLS. */
export function cutSocket(socket: Socket): void {
  if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}
