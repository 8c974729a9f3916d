import { forwardedRequestHeaders, returnedResponseHeaders } from "../policy/headers.ts";
import { isLoopbackHost } from "../policy/host.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import { HEADER } from "../protocol/headers.ts";
import { declaredLength, observedBody } from "./body.ts";
import { LIMITS } from "./limits.ts";
import type { EdgePorts } from "./ports.ts";
import { refuse, type Visit } from "./visit.ts";

type NodePorts = Pick<EdgePorts, "fetchNode" | "signProof" | "timer" | "log">;

/**
 * The request on its way to the tenant's node: own name of the node, raw path and query, signed proof instead of the Host that a Worker
 * can't set. Bodies stream both ways, redirects and WebSockets go through as they are. Nothing is tried twice.
 */
export async function proxyToNode(
  visit: Visit,
  record: DirectoryRecord,
  ports: NodePorts,
  firstByteMs: number,
): Promise<Response> {
  const { node } = record;
  const base = node === null ? null : nodeBaseUrl(node.url);
  if (node === null || base === null) {
    ports.log.error("record without a usable node", { tenant: record.tenantId, node: node?.id });
    return refuse(visit, "node-unreachable", "The tenant's node has no usable address; its operator must look at it.");
  }
  visit.seen.node = node.name;

  const { request } = visit;
  const headers = forwardedRequestHeaders(request.headers, { ...visit, webSocket: visit.isWebSocket });
  headers.set(HEADER.proof, await ports.signProof({ host: record.host, tenantId: record.tenantId, nodeId: node.id }));

  const abort = new AbortController();
  const upload = visit.body === null ? null : uploadOf(visit.body, request.headers);
  let cancelDeadline = () => {};
  let isOver = false;
  const startDeadline = () => {
    if (!isOver) cancelDeadline = ports.timer(firstByteMs, () => abort.abort());
  };
  if (upload?.ended === undefined) startDeadline();
  else visit.waitUntil(upload.ended.then(startDeadline));

  try {
    const response = await ports.fetchNode(
      new Request(`${base}${visit.rawPath}${visit.rawQuery}`, {
        method: request.method,
        headers,
        body: upload?.body ?? null,
        redirect: "manual",
        signal: abort.signal,
      }),
    );
    return returned(response, visit.requestId);
  } catch {
    return abort.signal.aborted
      ? refuse(visit, "node-timeout", "The tenant's node took too long to answer. Try again in a moment.")
      : refuse(visit, "node-unreachable", "The tenant's node can't be reached right now. Try again in a moment.");
  } finally {
    isOver = true;
    cancelDeadline();
  }
}

/** A short body arrives at once; with a long one the wait for an answer counts from its end. */
function uploadOf(
  body: ReadableStream<Uint8Array>,
  headers: Headers,
): { readonly body: ReadableStream<Uint8Array>; readonly ended?: Promise<void> } {
  const length = declaredLength(headers);
  return length !== null && length <= LIMITS.replayableBodyBytes ? { body } : observedBody(body, length);
}

function returned(response: Response, requestId: string): Response {
  const headers = returnedResponseHeaders(response.headers, { requestId, webSocket: response.status === 101 });
  // The runtime couples both sockets itself as long as nobody accepts this one.
  if (response.status === 101) return new Response(null, { status: 101, webSocket: response.webSocket, headers });
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** The node's URL without a path, or null: https anywhere, plain http on loopback only (the local stack). */
export function nodeBaseUrl(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  const isSafe = url.protocol === "https:" || (url.protocol === "http:" && isLoopbackHost(url.hostname));
  return isSafe && url.username === "" && url.password === "" ? url.origin : null;
}
