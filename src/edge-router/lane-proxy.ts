import { z } from "zod";
import { forwardedRequestHeaders, returnedResponseHeaders } from "../policy/headers.ts";
import { prefersHtml } from "../policy/negotiate.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import { HEADER } from "../protocol/headers.ts";
import { PROBLEMS, type ErrorCode } from "../shared/problem.ts";
import { declaredLength, watchedBody } from "./body.ts";
import { otherLane, type LaneLoad, type Lease, type Weight } from "./lane-load.ts";
import { LIMITS } from "./limits.ts";
import type { EdgePorts, LaneName } from "./ports.ts";
import { refuse, type Visit } from "./visit.ts";

type LanePorts = Pick<EdgePorts, "lane" | "now" | "log">;

export interface TargetRequest {
  readonly target: string;
  /** What the edge cut off the path, "" for nothing. */
  readonly prefix: string;
  /** Path for the target, still encoded, with its leading "/". */
  readonly path: string;
  /** Cookies never cross the relay host, which all tenants share. */
  readonly withoutCookies: boolean;
}

/** RFC 9110, section 9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

type Body =
  | { readonly kind: "none" }
  | { readonly kind: "kept"; readonly bytes: ArrayBuffer }
  | { readonly kind: "once"; readonly stream: ReadableStream<Uint8Array> };

type Attempt =
  | { readonly kind: "answer"; readonly response: Response }
  | { readonly kind: "refused"; readonly response: Response }
  | { readonly kind: "lost" };

/**
 * The request on its way to a target, by one of the tenant's two lanes. It is tried on the other lane once, and only where that is provably
 * safe (D14): the lane says that nothing was started, or it was lost before any answer and the request may be repeated. A body that can't be
 * kept is only sent to a lane that has said that it would take it.
 */
export async function proxyToTarget(
  visit: Visit,
  record: DirectoryRecord,
  to: TargetRequest,
  ports: LanePorts,
  load: LaneLoad,
): Promise<Response> {
  const { tenantId } = record;
  visit.seen.target = to.target;
  const body = await readBody(visit);
  const first = load.choose(tenantId);
  const lane = body.kind === "once" ? await acceptingLane(tenantId, to.target, first, ports) : first;
  const second = otherLane(lane);

  const attempt = await attemptOn(lane);
  if (attempt.kind === "answer") return await readable(visit, attempt.response);
  const mayRepeat = body.kind !== "once" && (attempt.kind === "refused" || IDEMPOTENT.has(visit.request.method));
  if (!mayRepeat) return attempt.kind === "refused" ? await readable(visit, attempt.response) : lost();

  const repeated = await attemptOn(second);
  if (repeated.kind === "answer") return await readable(visit, repeated.response);
  const refusals = [attempt, repeated].flatMap((each) => (each.kind === "refused" ? [each.response] : []));
  // A lane with connectors knows more than one without.
  const telling = refusals.find((response) => response.headers.get(HEADER.error) !== "no-connector") ?? refusals[0];
  return telling === undefined ? lost() : await readable(visit, telling);

  function lost(): Response {
    return refuse(visit, "not-available", "The relay did not answer. Try again in a moment.", { "retry-after": "1" });
  }

  async function attemptOn(name: LaneName): Promise<Attempt> {
    visit.seen.lane = name;
    const weight: Weight = body.kind === "once" ? "bulk" : "light";
    const lease = load.begin(tenantId, name, weight);
    try {
      const response = await ports.lane(name, tenantId).fetch(laneRequest(visit, to, body));
      const isRefused = response.headers.get(HEADER.refused) === "1";
      lease.end();
      const answer = returned(visit, response, to, () => load.begin(tenantId, name, "bulk"));
      return { kind: isRefused ? "refused" : "answer", response: answer };
    } catch (error) {
      lease.end();
      load.suspect(tenantId, name, ports.now() + LIMITS.laneSuspectMs);
      ports.log.warn("lane did not answer", { tenant: tenantId, lane: name, error: String(error) });
      return { kind: "lost" };
    }
  }
}

async function readBody({ request, body }: Visit): Promise<Body> {
  if (body === null) return { kind: "none" };
  const length = declaredLength(request.headers);
  if (length !== null && length <= LIMITS.replayableBodyBytes) {
    return { kind: "kept", bytes: await request.arrayBuffer() };
  }
  return { kind: "once", stream: body };
}

/** The first lane that would take the request; the preferred one when neither would, for its refusal says why. */
async function acceptingLane(
  tenantId: string,
  target: string,
  preferred: LaneName,
  ports: LanePorts,
): Promise<LaneName> {
  for (const lane of [preferred, otherLane(preferred)]) {
    try {
      if (await ports.lane(lane, tenantId).accepts(target)) return lane;
    } catch (error) {
      ports.log.warn("lane did not answer", { tenant: tenantId, lane, error: String(error) });
    }
  }
  return preferred;
}

function laneRequest(visit: Visit, to: TargetRequest, body: Body): Request {
  const headers = forwardedRequestHeaders(visit.request.headers, { ...visit, webSocket: visit.isWebSocket });
  if (to.withoutCookies) headers.delete("cookie");
  headers.set(HEADER.target, to.target);
  headers.set(HEADER.prefix, to.prefix);
  if (to.prefix !== "") headers.set("x-forwarded-prefix", to.prefix);
  const init: RequestInit = { method: visit.request.method, headers, redirect: "manual" };
  if (body.kind === "kept") init.body = body.bytes;
  if (body.kind === "once") init.body = body.stream;
  return new Request(`${visit.scheme}://${visit.hostWithPort}${to.path}${visit.rawQuery}`, init);
}

/** A long answer counts as bulk from here to its end, as long as its bytes move. */
function returned(visit: Visit, response: Response, to: TargetRequest, beginBulk: () => Lease): Response {
  const headers = returnedResponseHeaders(response.headers, { requestId: visit.requestId, keepOurs: true });
  if (to.withoutCookies) headers.delete("set-cookie");
  if (response.status === 101) return new Response(null, { status: 101, webSocket: response.webSocket, headers });
  const init = { status: response.status, statusText: response.statusText, headers };
  const length = declaredLength(response.headers);
  const isShort = length !== null && length <= LIMITS.replayableBodyBytes;
  // The runtime would decode an encoded body to let us watch it.
  if (isShort || response.body === null || response.headers.has("content-encoding")) {
    return new Response(response.body, init);
  }
  const lease = beginBulk();
  return new Response(watchedBody(response.body, length, { moved: lease.renew, ended: lease.end }), init);
}

/** A lane says what is wrong as problem details; a browser gets the page with the same words. */
async function readable(visit: Visit, response: Response): Promise<Response> {
  if (!response.headers.has(HEADER.error) || !prefersHtml(visit.request.headers.get("accept"))) return response;
  const said = laneProblem.safeParse(await response.json().catch(() => null));
  if (!said.success) return refuse(visit, "internal-error", "The relay said something that it never should.");
  const retryAfter = response.headers.get("retry-after");
  return refuse(visit, said.data.code, said.data.detail, retryAfter === null ? {} : { "retry-after": retryAfter });
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(PROBLEMS, code);
const laneProblem = z.object({ code: z.string().refine(isErrorCode), detail: z.string() });
