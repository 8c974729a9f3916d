import type { IncomingMessage } from "node:http";
import { WebSocket, type RawData } from "ws";
import type { OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import type { Logger } from "../../shared/log.ts";
import { localhostLookup } from "../../shared/localhost-lookup.node.ts";
import { TARGET_CONNECT_TIMEOUT_MS, TARGET_HEAD_BYTES, TARGET_WS_MESSAGE_BYTES } from "../limits.ts";
import { networkError } from "../network-errors.ts";
import { targetReset } from "./target-errors.ts";
import { targetRequestHeaders, targetResponseHeaders, valuesOf } from "./target-headers.ts";

export interface SocketOrigin {
  readonly name: string;
  readonly url: URL;
  /** Raw, base included. */
  readonly path: string;
  readonly timeoutMs: number;
  readonly trust: { readonly ca?: string[] };
  readonly log: Logger;
}

/**
 * A visitor's WebSocket to a web target: messages, close codes and subprotocol go through; pings are answered on each hop. An answer other
 * than 101 goes back as an ordinary one.
 */
export function openTargetSocket(origin: SocketOrigin, stream: Stream, request: OpenRequest): StreamEvents {
  const { name, log } = origin;
  const headers = targetRequestHeaders(request.headers);
  const offered = valuesOf(request.headers, "sec-websocket-protocol")
    .flatMap((value) => value.split(","))
    .map((p) => p.trim());
  const protocols = [...new Set(offered.filter((protocol) => protocol !== ""))];
  const fields: Record<string, string[]> = {};
  const flat = headers.ok ? headers.value.flat : [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const field = flat[i] ?? "";
    if (field.toLowerCase() !== "sec-websocket-protocol") (fields[field] ??= []).push(flat[i + 1] ?? "");
  }

  const fail = (thrown: unknown): void => {
    if (stream.closed) return;
    const error = networkError(thrown);
    log.warn("WebSocket to the target failed", { fault: error.fault, code: error.code, reason: error.message });
    const { reason, text } = targetReset(name, error.fault);
    stream.reset(reason, text);
  };

  let socket: WebSocket;
  try {
    socket = connect(origin, protocols, fields);
  } catch (error) {
    log.warn("WebSocket to the target can't be asked for", { reason: error instanceof Error ? error.message : "" });
    stream.reset("protocol", `the WebSocket request can't be sent to target "${name}"`);
    return {};
  }
  const connecting = setTimeout(
    () => {
      fail(Object.assign(new Error(`no answer within ${origin.timeoutMs} ms`), { code: "ETIMEDOUT" }));
      socket.terminate();
    },
    Math.min(origin.timeoutMs, request.deadlineMs > 0 ? request.deadlineMs : Number.POSITIVE_INFINITY),
  );

  let answer: IncomingMessage | null = null; // of a target that does not want a WebSocket
  let opened = false;

  socket.once("upgrade", (response) => {
    clearTimeout(connecting);
    if (stream.closed) return socket.terminate();
    const fields = targetResponseHeaders(response.rawHeaders);
    // A server may pick none of the offered subprotocols (RFC 6455, section 4.2.2); ws wants one, so it is shown the first one, and only it.
    const [first] = protocols;
    if (first !== undefined) response.headers["sec-websocket-protocol"] ??= first;
    opened = true;
    stream.respond({ status: 101, headers: fields }, false);
  });
  socket.on("message", (data: RawData, isBinary: boolean) => {
    if (data instanceof Buffer && stream.sendMessage(isBinary ? "binary" : "text", data) <= 0) socket.pause();
  });
  socket.once("unexpected-response", (_request, response) => {
    clearTimeout(connecting);
    answer = response;
    answerPlainly(response, stream, fail);
  });
  socket.on("error", (error) => {
    clearTimeout(connecting);
    if (!opened) fail(error);
    else log.info("WebSocket of the target broke", { reason: error.message });
  });
  socket.once("close", (code, reason) => {
    clearTimeout(connecting);
    if (opened) stream.sendMessageClose(code, reason.toString());
  });

  return {
    message(message) {
      socket.send(message.data, { binary: message.kind === "binary" }, () => stream.consumed(message.creditBytes));
    },
    messageClose(code, reason) {
      if (code === 1006) socket.terminate();
      else if (code === 1005) socket.close();
      else closeWith(socket, code, reason);
    },
    writable() {
      if (answer === null) socket.resume();
      else answer.resume();
    },
    closed(outcome) {
      clearTimeout(connecting);
      if (outcome.kind === "finished") return;
      answer?.destroy();
      socket.terminate();
    },
  };
}

function connect(origin: SocketOrigin, protocols: string[], headers: Record<string, string[]>): WebSocket {
  const { url, path } = origin;
  return new WebSocket(new URL(url.origin.replace(/^http/, "ws")), protocols, {
    perMessageDeflate: false,
    maxPayload: TARGET_WS_MESSAGE_BYTES,
    maxHeaderSize: TARGET_HEAD_BYTES,
    handshakeTimeout: Math.max(TARGET_CONNECT_TIMEOUT_MS, origin.timeoutMs),
    lookup: localhostLookup,
    ...origin.trust,
    finishRequest(request) {
      request.path = path; // ws would normalise it
      for (const [name, values] of Object.entries(headers)) request.setHeader(name, values);
      request.end();
    },
  });
}

/** An ordinary answer to a request that asked for a WebSocket: 401, 404, a redirect. */
function answerPlainly(response: IncomingMessage, stream: Stream, fail: (error: unknown) => void): void {
  stream.respond({ status: response.statusCode ?? 502, headers: targetResponseHeaders(response.rawHeaders) }, false);
  response.on("data", (chunk: Buffer) => {
    if (stream.write(chunk) <= 0) response.pause();
  });
  response.once("end", () => {
    stream.end(targetResponseHeaders(response.rawTrailers));
    stream.stopReceiving();
  });
  response.once("error", fail);
}

/** Codes that may not be sent (1004, 1015, below 1000) become a close without one. */
function closeWith(socket: WebSocket, code: number, reason: string): void {
  const sendable = (code >= 1000 && code <= 1014 && code !== 1004) || (code >= 3000 && code <= 4999);
  if (sendable) socket.close(code, reason);
  else socket.close();
}
