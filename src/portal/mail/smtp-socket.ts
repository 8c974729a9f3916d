import { LIMITS } from "../limits.ts";
import type { SmtpConversation } from "./smtp.ts";

/** A TCP connection as Workers have it (`cloudflare:sockets`), as far as it is used here. */
export interface TcpSocket {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  startTls(): TcpSocket;
  close(): Promise<void>;
}

/** `tls`: from the first byte, or after STARTTLS. Certificates are verified. */
export type Connect = (address: { hostname: string; port: number }, tls: "on" | "starttls") => TcpSocket;

/** Talks in lines over a connection; `close` ends it, whatever state it is in. */
export function conversationOver(first: TcpSocket): SmtpConversation & { close(): void } {
  const encoder = new TextEncoder();
  let socket = first;
  let reader = socket.readable.getReader();
  let writer = socket.writable.getWriter();
  let decoder = new TextDecoder();
  let text = "";

  return {
    async readLine() {
      for (;;) {
        const end = text.indexOf("\n");
        if (end !== -1) {
          const line = text.slice(0, end).replace(/\r$/, "");
          text = text.slice(end + 1);
          return line;
        }
        if (text.length > LIMITS.smtpLineCharacters) return null;
        const { done, value } = await reader.read();
        if (done) return null;
        text += decoder.decode(value, { stream: true });
      }
    },
    async write(line) {
      await writer.write(encoder.encode(line));
    },
    startTls() {
      reader.releaseLock();
      writer.releaseLock();
      socket = socket.startTls();
      reader = socket.readable.getReader();
      writer = socket.writable.getWriter();
      decoder = new TextDecoder();
      text = "";
    },
    close() {
      socket.close().catch(() => undefined);
    },
  };
}
