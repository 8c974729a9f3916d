import type { HeaderList, OpenRequest, Stream } from "../../protocol/tunnel/session.ts";
import type { TargetFunction } from "./target-config.ts";
import { targetRequestHeaders } from "./target-headers.ts";
import type { Target, TargetPorts } from "./target.ts";

const BODILESS: ReadonlySet<number> = new Set([101, 204, 205, 304]);

/** A function of this process as a target. It sees `http://<target>/path`; what it throws is a 500 without its words, and a line in the log. */
export function createFunctionTarget(name: string, handle: TargetFunction, ports: TargetPorts): Target {
  const log = ports.log.with({ target: name });
  return {
    name,
    open(stream, request) {
      if (request.upgrade !== null) {
        stream.respond({ status: 426, headers: [["content-length", "0"]] }, true);
        stream.stopReceiving();
        return {};
      }
      const gone = new AbortController();
      const body = createBody(stream, request);
      run(stream, request, body.readable, handle, gone.signal).catch((error: unknown) => {
        if (stream.closed) return;
        log.error("the function failed", { reason: error instanceof Error ? error.message : String(error) });
        stream.reset("internal", `target "${name}": its function failed`);
      });
      return {
        data: body.data,
        end: body.end,
        writable: () => wakes.get(stream)?.(),
        closed(outcome) {
          wakes.get(stream)?.();
          if (outcome.kind === "finished") return;
          gone.abort();
          body.fail();
        },
      };
    },
    unhealthy: false,
    retire: () => undefined,
    close: () => undefined,
  };
}

/** Who waits for room on a stream. */
const wakes = new WeakMap<Stream, () => void>();

async function run(
  stream: Stream,
  request: OpenRequest,
  body: ReadableStream<Uint8Array> | null,
  handle: TargetFunction,
  signal: AbortSignal,
): Promise<void> {
  const headers = targetRequestHeaders(request.headers);
  if (!headers.ok) return stream.reset("protocol", headers.error);
  const fields = new Headers();
  for (const [field, value] of headers.value.list) fields.append(field, value);
  const init = { method: request.method, headers: fields, body, duplex: "half", signal } as const;
  const response = await handle(new Request(`http://${request.target}${request.path}`, init), signal);
  const ends = response.body === null || request.method === "HEAD" || BODILESS.has(response.status);
  stream.respond({ status: response.status, headers: headerList(response.headers) }, ends);
  if (!ends) await pump(response.body, stream);
  if (!request.end) stream.stopReceiving();
}

async function pump(body: ReadableStream<Uint8Array>, stream: Stream): Promise<void> {
  for await (const chunk of body) {
    // Leaving the loop cancels the body's source.
    if (stream.closed) return;
    if (stream.write(chunk) > 0) continue;
    await new Promise<void>((wake) => wakes.set(stream, wake));
    if (stream.closed) return;
  }
  stream.end();
}

function headerList(headers: Headers): HeaderList {
  const list: [string, string][] = [];
  for (const [name, value] of headers) if (name !== "set-cookie") list.push([name, value]);
  for (const cookie of headers.getSetCookie()) list.push(["set-cookie", cookie]);
  return list;
}

interface FunctionBody {
  readonly readable: ReadableStream<Uint8Array> | null;
  readonly data: (bytes: Uint8Array) => void;
  readonly end: () => void;
  readonly fail: () => void;
}

/** The request's body as a stream whose reads are what gives credit back. */
function createBody(stream: Stream, request: OpenRequest): FunctionBody {
  const nothing = () => undefined;
  if (request.end || request.method === "GET" || request.method === "HEAD") {
    return { readable: null, data: (bytes) => stream.consumed(bytes.length), end: nothing, fail: nothing };
  }
  const waiting: Uint8Array[] = [];
  let ended = false;
  let sink: ReadableStreamDefaultController<Uint8Array> | null = null;
  let asked = false;
  const feed = (): void => {
    if (!asked || sink === null) return;
    const bytes = waiting.shift();
    if (bytes !== undefined) {
      asked = false;
      sink.enqueue(bytes.slice()); // a consumer may detach its buffer, and this one is a view of the whole message
      stream.consumed(bytes.length);
    } else if (ended) {
      sink.close();
      sink = null;
    }
  };
  const readable = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        sink = controller;
      },
      pull() {
        asked = true;
        feed();
      },
      cancel() {
        sink = null;
        for (const bytes of waiting.splice(0)) stream.consumed(bytes.length);
      },
    },
    { highWaterMark: 0 },
  );
  return {
    readable,
    data(bytes) {
      if (sink === null) return stream.consumed(bytes.length);
      waiting.push(bytes);
      feed();
    },
    end() {
      ended = true;
      feed();
    },
    fail() {
      sink?.error(new Error("the visitor is gone"));
      sink = null;
    },
  };
}
