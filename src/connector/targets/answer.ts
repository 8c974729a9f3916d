import type { HeaderList, OpenRequest, Stream } from "../../protocol/tunnel/session.ts";

const text = new TextEncoder();

/** A short answer of the connector's own; the rest of the request's body is not wanted. */
export function answer(
  stream: Stream,
  request: OpenRequest,
  head: { readonly status: number; readonly type: string; readonly headers?: HeaderList },
  body: string,
): void {
  const bytes = text.encode(body);
  const headers: HeaderList = [
    ["content-type", head.type],
    ["content-length", String(bytes.length)],
    ...(head.headers ?? []),
  ];
  const headOnly = request.method === "HEAD";
  stream.respond({ status: head.status, headers }, headOnly);
  if (!headOnly) {
    stream.write(bytes);
    stream.end();
  }
  if (!request.end) stream.stopReceiving();
}
