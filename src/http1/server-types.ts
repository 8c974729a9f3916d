import type { TlsOptions } from "node:tls";
import type { Logger } from "../shared/log.ts";
import type { ServerLimits, ServerTimeouts } from "./limits.ts";
import type { Exchange, ExchangeEvents, HeaderList, Refusal } from "./types.ts";

export interface Http1ServerOptions {
  /** "llhttp" (default): our own framing. "node": node:http, the switch back; same interface, same behaviour (test/system/http1). */
  readonly engine?: "llhttp" | "node";
  /** Given: HTTPS. ALPN offers http/1.1 only. */
  readonly tls?: TlsOptions;
  /** Called for each request in order of arrival; the next one of a connection comes when this one's answer is complete. */
  readonly onRequest: (exchange: Exchange) => ExchangeEvents;
  /** Renders a refusal; `connection`, `date` and `content-length` are added. Default: the reason as plain text. */
  readonly onRefused?: (refusal: Refusal) => { readonly headers: HeaderList; readonly body: string };
  readonly limits?: Partial<ServerLimits>;
  readonly timeouts?: Partial<ServerTimeouts>;
  readonly log: Logger;
}

export interface Http1Server {
  /** Port 0: any free one. Rejects when the system refuses. */
  listen(port: number, host?: string): Promise<{ readonly port: number }>;
  /** Takes no more connections, closes idle ones, lets requests under way finish (`connection: close`) for at most `graceMs`, then cuts. */
  close(graceMs: number): Promise<void>;
  readonly connections: number;
  /** Exchanges that are not closed. */
  readonly active: number;
}
