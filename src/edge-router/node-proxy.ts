import { forwardHeaders, isWebSocketUpgrade, returnHeaders } from "../policy/headers.ts";
import { isLoopbackHost } from "../policy/host.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import { HEADER } from "../protocol/headers.ts";
import { observedBody } from "./body.ts";
import { declaredLength } from "./content-length.ts";
import { isGrpc, refuseGrpc } from "./grpc.ts";
import type { Identity } from "./identity.ts";
import { LIMITS } from "./limits.ts";
import { createLru } from "./lru.ts";
import type { EdgePorts } from "./ports.ts";
import { DeadlineError, within, type Timer } from "./timer.ts";
import { refuse, type Visit } from "./visit.ts";

type NodePorts = Pick<EdgePorts, "fetchNode" | "signProof" | "identityFields" | "timer" | "now" | "log">;

export interface NodeRequest {
  /** What the node puts something else in place of; "" when it leaves the path alone. */
  readonly prefix: string;
  readonly identity: Identity;
  readonly firstByteMs: number;
}

/**
 * The request on its way to the tenant's node: own name of the node, raw path and query, signed proof instead of the Host that a Worker
 * can't set. Bodies stream both ways, redirects and WebSockets go through as they are. Nothing is tried twice.
 */
export async function proxyToNode(
  visit: Visit,
  record: DirectoryRecord,
  ports: NodePorts,
  { prefix, identity, firstByteMs }: NodeRequest,
): Promise<Response> {
  const { node } = record;
  const base = node === null ? null : knownNodeBase(node.url);
  if (node === null || base === null) {
    ports.log.error("record without a usable node", { tenant: record.tenantId, node: node?.id });
    return refuse(visit, "node-unreachable", "The tenant's node has no usable address; its operator must look at it.");
  }
  visit.seen.node = node.name;
  if (isGrpc(visit)) return refuseGrpc(visit);

  const { request, method } = visit;
  const upload = visit.body === null ? null : uploadOf(visit.body, request.headers);
  const headers = new Headers(request.headers);
  const proof = ports.signProof({ host: record.host, tenantId: record.tenantId, nodeId: node.id });
  const fields = identity.kind === "nobody" ? [] : await ports.identityFields(identity, record);
  const webSocket = isWebSocketUpgrade(method, request.headers);
  forwardHeaders(headers, { ...visit, webSocket, prefix, identity: fields });
  // Else the runtime says `no-cache` to the service, which would never answer 304 then.
  if (!headers.has("cache-control")) headers.set("cache-control", "no-transform");
  headers.set(HEADER.proof, proof instanceof Promise ? await proof : proof);
  const askedAtMs = ports.now();
  try {
    const asked = ports.fetchNode(base + visit.rawPath + visit.rawQuery, {
      method,
      headers,
      body: upload?.body ?? null,
      redirect: "manual",
      // All tenants of a node have one address: Cloudflare's cache would give one's files to another, protected ones too.
      cache: "no-store",
    });
    const answer = await firstByte(asked, upload?.ended ?? null, firstByteMs, ports.timer);
    visit.seen.upstreamMs = ports.now() - askedAtMs;
    return returned(answer, visit);
  } catch (error) {
    return error instanceof DeadlineError
      ? refuse(visit, "node-timeout", "The tenant's node took too long to answer. Try again in a moment.")
      : refuse(visit, "node-unreachable", "The tenant's node can't be reached right now. Try again in a moment.");
  }
}

/**
 * The node's answer. Rejects with DeadlineError when its head takes longer than `ms` from the end of the upload; the runtime cancels what is
 * still under way when the visitor has got an answer.
 */
function firstByte(
  answer: Promise<Response>,
  uploaded: Promise<void> | null,
  ms: number,
  timer: Timer,
): Promise<Response> {
  if (uploaded === null) return within(timer, ms, answer);
  // What comes first: the answer may do without the rest of the body.
  const settled = answer.then(
    () => undefined,
    () => undefined,
  );
  return Promise.race([uploaded, settled]).then(() => within(timer, ms, answer));
}

/** A short body arrives at once; with a long one the wait for an answer counts from its end. */
function uploadOf(
  body: ReadableStream<Uint8Array>,
  headers: Headers,
): { readonly body: ReadableStream<Uint8Array>; readonly ended?: Promise<void> } {
  const length = declaredLength(headers);
  return length !== null && length <= LIMITS.replayableBodyBytes ? { body } : observedBody(body, length);
}

/**
 * The error that the node's Envoy made itself, in the form that the visitor reads. That it wants no proof of ours is no business of the
 * visitor's.
 */
function ownError(code: string, visit: Visit): Response {
  if (code === "not-available")
    return refuse(visit, code, "The service can't be reached right now. Try again in a moment.");
  if (code === "rate-limited")
    return refuse(visit, code, "Too many requests to this service are under way. Try again in a moment.", {
      "retry-after": "1",
    });
  if (code === "node-timeout") return refuse(visit, code, "The service did not answer in time.");
  if (code === "no-route") return refuse(visit, code, "No route of this tenant matches the path.");
  if (code === "body-too-large") return refuse(visit, code, "The request is too large.");
  if (code === "bad-request") return refuse(visit, code, "The request is not valid HTTP.");
  return refuse(visit, "node-unreachable", "The tenant's node refused the request. Try again in a moment.");
}

/** What the visitor gets of the node's answer. A code in it is Envoy's own, which takes the header from services. */
function returned(answer: Response, visit: Visit): Response {
  const { status } = answer;
  const returning = { requestId: visit.requestId, webSocket: status === 101 };
  if (status === 101) {
    const headers = new Headers(answer.headers);
    returnHeaders(headers, returning);
    // The runtime couples both sockets itself as long as nobody accepts this one.
    return new Response(null, { status, webSocket: answer.webSocket, headers });
  }
  const copy = new Response(answer.body, answer);
  const code = copy.headers.get(HEADER.error);
  if (code !== null) {
    copy.body?.cancel().catch(() => undefined);
    return ownError(code, visit);
  }
  returnHeaders(copy.headers, returning);
  return copy;
}

/** Nodes are few, and to parse a URL is dear. */
const nodeBases = createLru<string | null>(LIMITS.cachedNodeUrls);

function knownNodeBase(text: string): string | null {
  const known = nodeBases.get(text);
  if (known !== undefined) return known;
  const base = nodeBaseUrl(text);
  nodeBases.set(text, base);
  return base;
}

/** The node's URL without a path, or null: https anywhere, plain http on loopback only (the local stack). */
export function nodeBaseUrl(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  const isSafe = url.protocol === "https:" || (url.protocol === "http:" && isLoopbackHost(url.hostname));
  return isSafe && url.username === "" && url.password === "" ? url.origin : null;
}
