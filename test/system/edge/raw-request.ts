import { connect } from "node:net";

/** Sends these octets over a socket of its own and answers all that came back when the other side closed, or after 3 s of silence. */
export function rawRequest(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text, "latin1"));
    let received = "";
    socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
    // What was refused while it was still being sent ends with a reset.
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(received));
    socket.setTimeout(3_000, () => socket.destroy());
  });
}
