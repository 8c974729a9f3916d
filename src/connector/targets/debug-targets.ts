import type { OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import { answer } from "./answer.ts";
import { valuesOf } from "./target-headers.ts";
import type { Target } from "./target.ts";

/** Answers every request with PONG: shows that the way to the connector works, whatever its targets do. */
export function createPingTarget(name: string): Target {
  return {
    name,
    open(stream, request) {
      answer(stream, request, { status: 200, type: "text/plain; charset=utf-8" }, "PONG\n");
      return discarding(stream);
    },
    unhealthy: false,
    retire: () => undefined,
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
      const described = { target: request.target, method, path, headers };
      answer(stream, request, { status: 200, type: "application/json" }, `${JSON.stringify(described)}\n`);
      return {};
    },
    unhealthy: false,
    retire: () => undefined,
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

const discarding = (stream: Stream): StreamEvents => ({
  data: (bytes) => stream.consumed(bytes.length),
});
