import type { IncomingMessage } from "node:http";
import type { ConnectionOptions } from "node:tls";
import { WebSocket, type RawData } from "ws";
import type { HeaderList, OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import type { Logger } from "../../shared/log.ts";
import { localhostLookup } from "../../shared/localhost-lookup.node.ts";
import { ADDRESS_TIMEOUT_MS, TARGET_HEAD_BYTES, TARGET_WS_MESSAGE_BYTES } from "../limits.ts";
import { applyRules, type CompiledRules } from "./header-rules.ts";
import { rewriteForVisitor } from "./locations.ts";
import type { WebTargetConfig } from "./target-config.ts";
import { failureOf, targetReset } from "./target-errors.ts";
import { headerPairs, targetResponseHeaders, valuesOf } from "./target-headers.ts";

export interface SocketOrigin {
  readonly config: WebTargetConfig;
  /** Raw, base included. */
  readonly path: string;
  /** As the target gets them. */
  readonly headers: HeaderList;
  /** What is tried once if the target answers 403 (its check of Origin); null: nothing. */
  readonly otherwise: HeaderList | null;
  /** The target took the WebSocket with these fields. */
  readonly taken: (headers: HeaderList) => void;
  readonly tls: ConnectionOptions;
  readonly responseRules: CompiledRules | null;
  readonly log: Logger;
}

/**
 * A visitor's WebSocket to a web target: messages, close codes and subprotocol go through; pings are answered on each hop. An answer other
 * than 101 goes back as an ordinary one, but a 403 only after `otherwise` was tried.
 */
export function openTargetSocket(origin: SocketOrigin, stream: Stream, request: OpenRequest): StreamEvents {
  const { config, log } = origin;
  const { name } = config;
  const offered = valuesOf(request.headers, "sec-websocket-protocol")
    .flatMap((value) => value.split(","))
    .map((p) => p.trim());
  const protocols = [...new Set(offered.filter((protocol) => protocol !== ""))];
  let answer: IncomingMessage | null = null; // of a target that does not want a WebSocket
  let opened = false;

  const fail = (thrown: unknown): void => {
    if (stream.closed) return;
    const failure = failureOf(thrown, opened || answer !== null);
    log.warn("WebSocket to the target failed", { fault: failure.kind, code: failure.code, reason: failure.message });
    const { reason, text } = targetReset(name, failure, config.timeoutMs);
    stream.reset(reason, text);
  };

  const limitMs = Math.min(config.timeoutMs, request.deadlineMs > 0 ? request.deadlineMs : Number.POSITIVE_INFINITY);
  let socket: WebSocket;
  try {
    socket = dial(origin.headers, origin.otherwise);
  } catch (error) {
    log.warn("WebSocket to the target can't be asked for", { reason: error instanceof Error ? error.message : "" });
    stream.reset("protocol", `the WebSocket request can't be sent to target "${name}"`);
    return {};
  }
  const connecting = setTimeout(() => {
    fail(Object.assign(new Error(`no answer within ${limitMs} ms`), { code: "ETIMEDOUT" }));
    socket.terminate();
  }, limitMs);

  function dial(headers: HeaderList, otherwise: HeaderList | null): WebSocket {
    const own = connect(origin, protocols, headers);
    own.once("upgrade", (response) => {
      clearTimeout(connecting);
      if (stream.closed) return own.terminate();
      // A server may pick none of the offered subprotocols (RFC 6455, section 4.2.2); ws wants one, so it is shown the first one, and only it.
      const [first] = protocols;
      if (first !== undefined) response.headers["sec-websocket-protocol"] ??= first;
      opened = true;
      origin.taken(headers);
      stream.respond({ status: 101, headers: fieldsOf(origin, request, response) }, false);
    });
    own.on("message", (data: RawData, isBinary: boolean) => {
      if (data instanceof Buffer && stream.sendMessage(isBinary ? "binary" : "text", data) <= 0) own.pause();
    });
    own.once("unexpected-response", (_request, response) => {
      if (response.statusCode === 403 && otherwise !== null && !stream.closed) {
        // A handshake that was refused has done nothing, so it may be repeated.
        response.destroy();
        socket = dial(otherwise, null);
        return own.terminate();
      }
      clearTimeout(connecting);
      answer = response;
      stream.respond({ status: response.statusCode ?? 502, headers: fieldsOf(origin, request, response) }, false);
      passBody(response, stream, fail);
    });
    own.on("error", (error) => {
      if (own !== socket) return;
      clearTimeout(connecting);
      if (!opened) fail(error);
      else log.info("WebSocket of the target broke", { reason: error.message });
    });
    own.once("close", (code, reason) => {
      if (own !== socket) return;
      clearTimeout(connecting);
      if (opened) stream.sendMessageClose(code, reason.toString());
    });
    return own;
  }

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

const RESOLVING = { lookup: localhostLookup, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS };

function connect(origin: SocketOrigin, protocols: string[], headers: HeaderList): WebSocket {
  const { config, path } = origin;
  const fields: Record<string, string[]> = {};
  for (const [field, value] of headers) {
    const lower = field.toLowerCase();
    if (lower !== "sec-websocket-protocol") (fields[lower] ??= []).push(value);
  }
  return new WebSocket(new URL(config.url.origin.replace(/^http/, "ws")), protocols, {
    perMessageDeflate: false,
    maxPayload: TARGET_WS_MESSAGE_BYTES,
    maxHeaderSize: TARGET_HEAD_BYTES,
    handshakeTimeout: Math.max(config.connectTimeoutMs, config.timeoutMs),
    ...RESOLVING,
    ...origin.tls,
    finishRequest(request) {
      request.path = path; // ws would normalise it
      for (const [name, values] of Object.entries(fields)) request.setHeader(name, values);
      request.end();
    },
  });
}

/** With a redirect of an answer that is no upgrade made good for the visitor. */
function fieldsOf(
  { config, responseRules }: SocketOrigin,
  request: OpenRequest,
  response: IncomingMessage,
): HeaderList {
  const headers = targetResponseHeaders(headerPairs(response.rawHeaders));
  return applyRules(responseRules, rewriteForVisitor(config, request.headers, headers));
}

/** An ordinary answer to a request that asked for a WebSocket: 401, 404, a redirect. */
function passBody(response: IncomingMessage, stream: Stream, fail: (error: unknown) => void): void {
  const connection = response.socket;
  response.on("data", (chunk: Buffer) => {
    if (stream.write(chunk) <= 0) response.pause();
  });
  response.once("end", () => {
    stream.end(targetResponseHeaders(headerPairs(response.rawTrailers)));
    stream.stopReceiving();
    // Nobody else uses it, and a target may keep it open for an hour, and with it this process.
    connection.destroy();
  });
  response.once("error", fail);
}

/** Codes that may not be sent (1004, 1015, below 1000) become a close without one. */
function closeWith(socket: WebSocket, code: number, reason: string): void {
  const sendable = (code >= 1000 && code <= 1014 && code !== 1004) || (code >= 3000 && code <= 4999);
  if (sendable) socket.close(code, reason);
  else socket.close();
}
