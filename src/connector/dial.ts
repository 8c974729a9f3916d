import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect as connectTcp, Socket } from "node:net";
import { connect as tlsConnect, getCACertificates } from "node:tls";
import { z } from "zod";
import { WebSocket } from "ws";
import type { Result } from "../shared/result.ts";
import { localhostLookup } from "../shared/localhost-lookup.node.ts";
import { retryAfterMs } from "./backoff.ts";
import { lossOfNetwork, lossOfRefusal, type LinkLoss } from "./ending.ts";
import {
  ADDRESS_TIMEOUT_MS,
  DIAL_TIMEOUT_MS,
  REFUSAL_BODY_BYTES,
  SESSION_LIMITS,
  TCP_CONNECT_TIMEOUT_MS,
} from "./limits.ts";
import { networkError, plainWords } from "./network-errors.ts";
import { proxyFor } from "./proxy.ts";
import { watchWire } from "./send-message.ts";

export interface DialOptions {
  /** Where (ws or wss, with the lane's path) and with which assertion or token this dial goes. */
  readonly pass: () => Promise<Result<{ readonly url: URL; readonly token: string }, LinkLoss>>;
  /** Where HTTPS_PROXY and NO_PROXY are looked up. */
  readonly proxyEnv: Readonly<Record<string, string | undefined>>;
  /** PEM, trusted in addition to the machine's certificates. */
  readonly ca: string | null;
  readonly now: () => number;
  readonly software: string;
}

export interface DialEvents {
  /** Attach listeners before returning: messages may follow at once. */
  opened(socket: WebSocket, token: string): void;
  /** `token`: what was presented; null when it did not come to that. */
  failed(loss: LinkLoss, token: string | null): void;
}

/** Dials once; exactly one of the events is called, unless the returned function ends the attempt before. */
export function dial(options: DialOptions, events: DialEvents): () => void {
  const { now } = options;
  let over = false;
  let presented: string | null = null;
  let attempt: { destroy(): unknown } | null = null;

  const timer = setTimeout(
    () =>
      fail(lossOfNetwork({ fault: "timeout", code: "timeout", message: `no connection within ${DIAL_TIMEOUT_MS} ms` })),
    DIAL_TIMEOUT_MS,
  );
  const end = (): boolean => {
    if (over) return false;
    over = true;
    clearTimeout(timer);
    return true;
  };
  const fail = (loss: LinkLoss): void => {
    if (!end()) return;
    attempt?.destroy();
    events.failed(loss, presented);
  };
  const failed = (error: unknown): void => fail(lossOfNetwork(networkError(error)));

  const upgrade = (url: URL, token: string, tunnel: Socket | null): void => {
    const secure = url.protocol === "wss:";
    const trust = options.ca === null ? {} : { ca: [...getCACertificates("default"), options.ca] };
    const servername = /^[\d.]+$|^\[/.test(url.hostname) ? "" : url.hostname;
    const through = (inner: Socket): Socket => (secure ? tlsConnect({ socket: inner, servername, ...trust }) : inner);
    const directly = (): Socket => {
      const where = { host: url.hostname.replace(/^\[|\]$/g, ""), port: portOf(url), ...RESOLVING };
      const direct = secure ? tlsConnect({ ...where, servername, ...trust }) : connectTcp(where);
      const text = `no TCP connection within ${TCP_CONNECT_TIMEOUT_MS} ms`;
      const late = setTimeout(
        () => fail(lossOfNetwork({ fault: "timeout", code: "timeout", message: text })),
        TCP_CONNECT_TIMEOUT_MS,
      );
      for (const event of ["connect", "close"]) direct.once(event, () => clearTimeout(late));
      return direct;
    };
    const socket = new WebSocket(url, {
      headers: { authorization: `Bearer ${token}`, "user-agent": options.software },
      perMessageDeflate: false,
      maxPayload: SESSION_LIMITS.messageBytes,
      skipUTF8Validation: true, // no text messages are expected; a binary one has none
      createConnection: () => (tunnel === null ? directly() : through(tunnel)),
    });
    watchWire(socket);
    attempt = { destroy: () => socket.terminate() };
    socket.on("error", failed); // stays: a socket without an error listener would end the process
    socket.once("open", () => {
      if (end()) events.opened(socket, token);
    });
    socket.once("unexpected-response", (_request, response) => {
      void refusalOf(response, now()).then((refusal) => fail(lossOfRefusal(refusal)), failed);
    });
  };

  const start = async (): Promise<void> => {
    const pass = await options.pass();
    if (over) return;
    if (!pass.ok) return fail(pass.error);
    const { url, token } = pass.value;
    presented = token;
    const proxy = proxyFor(url, options.proxyEnv);
    if (!proxy.ok) return fail({ kind: "retry", text: proxy.error, retryAfterMs: null });
    if (proxy.value === null) return upgrade(url, token, null);
    attempt = connectThrough(
      proxy.value.url,
      url,
      options.software,
      (tunnel) => !over && upgrade(url, token, tunnel),
      fail,
    );
  };
  start().catch(failed);

  return () => {
    if (end()) attempt?.destroy();
  };
}

/** CONNECT through an HTTP proxy (RFC 9110, section 9.3.6). `relay` is a ws or wss URL. */
export function connectThrough(
  proxy: URL,
  relay: URL,
  software: string,
  connected: (tunnel: Socket) => void,
  fail: (loss: LinkLoss) => void,
): { destroy(): unknown } {
  const authority = `${relay.hostname}:${portOf(relay)}`;
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const make = proxy.protocol === "https:" ? httpsRequest : httpRequest;
  const request = make({
    host: proxy.hostname.replace(/^\[|\]$/g, ""),
    port: proxy.port === "" ? (proxy.protocol === "https:" ? 443 : 80) : Number(proxy.port),
    method: "CONNECT",
    path: authority,
    ...RESOLVING,
    headers: {
      host: authority,
      "user-agent": software,
      ...(user === ":" ? {} : { "proxy-authorization": `Basic ${Buffer.from(user).toString("base64")}` }),
    },
  });
  const refused = (text: string): void =>
    fail({ kind: "retry", text: `the proxy ${proxy.host}: ${text}`, retryAfterMs: null });
  request.once("connect", (response, socket, head) => {
    // Until its new owner listens: node:http has taken its own listeners away. "close" follows.
    socket.on("error", () => undefined);
    if (response.statusCode !== 200 || !(socket instanceof Socket)) {
      socket.destroy();
      return refused(`refused the connection to ${authority} with status ${statusWords(response, user !== ":")}`);
    }
    if (head.length > 0) socket.unshift(head);
    connected(socket);
  });
  request.once("response", (response) => {
    response.destroy();
    refused(`does not know CONNECT (status ${response.statusCode ?? 0})`);
  });
  request.on("error", (error) => {
    refused(plainWords(networkError(error)));
  });
  request.end();
  return request;
}

/** 407 with what the proxy wants; we speak Basic. */
function statusWords({ statusCode = 0, headers }: IncomingMessage, shown: boolean): string {
  if (statusCode !== 407) return String(statusCode);
  const wanted = headers["proxy-authenticate"] ?? [];
  const basic = wanted.length === 0 || [wanted].flat().some((scheme) => /\bbasic\b/i.test(scheme));
  if (!basic) return "407: it wants another proof than user and password";
  return shown ? "407: it does not take this user and password" : "407: it wants a user and password";
}

const RESOLVING = { lookup: localhostLookup, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS };

const portOf = ({ port, protocol }: URL): number => (port === "" ? (protocol === "wss:" ? 443 : 80) : Number(port));

const problemDetail = z.object({ detail: z.string().max(1000) });

async function refusalOf(response: IncomingMessage, nowMs: number): Promise<Parameters<typeof lossOfRefusal>[0]> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > REFUSAL_BODY_BYTES) break;
    chunks.push(chunk);
  }
  const date = Date.parse(response.headers.date ?? "");
  return {
    status: response.statusCode ?? 0,
    retryAfterMs: retryAfterMs(response.headers["retry-after"], nowMs),
    detail: detailOf(Buffer.concat(chunks).toString()),
    clockDifferenceMs: Number.isNaN(date) ? null : date - nowMs,
  };
}

function detailOf(body: string): string {
  try {
    const parsed = problemDetail.safeParse(JSON.parse(body));
    return parsed.success ? parsed.data.detail : "";
  } catch {
    return "";
  }
}
