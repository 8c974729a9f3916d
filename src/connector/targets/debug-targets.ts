import type { OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import { valuesOf } from "./target-headers.ts";
import type { Target } from "./target.ts";

const text = new TextEncoder();

/** Answers every request with PONG: shows that the way to the connector works, whatever its targets do. */
export function createPingTarget(name: string): Target {
  return {
    name,
    open(stream, request) {
      answer(stream, request, 200, "text/plain; charset=utf-8", "PONG\n");
      return discarding(stream);
    },
    close: () => undefined,
  };
}

/**
 * Sends back what it gets: a body as it comes, with its content-type; WebSocket messages; for a request without a body what arrived of it,
 * as JSON.
 */
export function createEchoTarget(name: string): Target {
  return {
    name,
    open(stream, request) {
      if (request.upgrade === "websocket") return echoMessages(stream, request);
      if (!request.end) return echoBody(stream, request);
      const { method, path, headers } = request;
      answer(stream, request, 200, "application/json", `${JSON.stringify({ target: name, method, path, headers })}\n`);
      return {};
    },
    close: () => undefined,
  };
}

function echoBody(stream: Stream, request: OpenRequest): StreamEvents {
  const [type = "application/octet-stream"] = valuesOf(request.headers, "content-type");
  const owed = createDebt(stream);
  stream.respond({ status: 200, headers: [["content-type", type]] }, false);
  return {
    data: (bytes) => owed.took(bytes.length, stream.write(bytes)),
    end: (trailers) => stream.end(trailers),
    writable: owed.pay,
  };
}

function echoMessages(stream: Stream, request: OpenRequest): StreamEvents {
  const [protocol] = valuesOf(request.headers, "sec-websocket-protocol").flatMap((value) => value.split(","));
  const owed = createDebt(stream);
  const chosen: [string, string][] = protocol === undefined ? [] : [["sec-websocket-protocol", protocol.trim()]];
  stream.respond({ status: 101, headers: chosen }, false);
  return {
    message: ({ kind, data, creditBytes }) => owed.took(creditBytes, stream.sendMessage(kind, data)),
    messageClose: (code, reason) => stream.sendMessageClose(code, reason),
    writable: owed.pay,
  };
}

/** Credit is given back once there is room for the answer, so an echo holds no more than a window. */
function createDebt(stream: Stream): { took: (bytes: number, room: number) => void; pay: () => void } {
  let bytesOwed = 0;
  const pay = (): void => {
    const bytes = bytesOwed;
    bytesOwed = 0;
    stream.consumed(bytes);
  };
  return {
    took(bytes, room) {
      bytesOwed += bytes;
      if (room > 0) pay();
    },
    pay,
  };
}

function answer(stream: Stream, request: OpenRequest, status: number, type: string, body: string): void {
  const bytes = text.encode(body);
  const headers: [string, string][] = [
    ["content-type", type],
    ["content-length", String(bytes.length)],
  ];
  const headOnly = request.method === "HEAD";
  stream.respond({ status, headers }, headOnly);
  if (headOnly) return;
  stream.write(bytes);
  stream.end();
  if (!request.end) stream.stopReceiving();
}

const discarding = (stream: Stream): StreamEvents => ({
  data: (bytes) => stream.consumed(bytes.length),
});
