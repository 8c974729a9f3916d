import { z } from "zod";
import { prefersHtml } from "../policy/negotiate.ts";
import { urgencyOf } from "../policy/priority.ts";
import type { DirectoryRecord, RouteTimeouts } from "../policy/record.ts";
import { HEADER } from "../protocol/headers.ts";
import { encodeVisit, withFields, type VisitorFields } from "../protocol/visit.ts";
import { PROBLEMS, type ErrorCode } from "../shared/problem.ts";
import { ATTRIBUTE } from "../shared/tracing/http-span.ts";
import { declaredLength } from "./content-length.ts";
import { otherLane, type LaneLoad } from "./lane-load.ts";
import { LIMITS } from "./limits.ts";
import type { EdgePorts, LaneName, LanePort } from "./ports.ts";
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
  readonly timeouts: RouteTimeouts | null;
  /** The answer names who gave it, and how long what took. */
  readonly trace: boolean;
  /** Headers for the target that say who the visitor is. Default: none. */
  readonly identity?: VisitorFields;
}

/** RFC 9110, section 9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

type Body =
  | { readonly kind: "none" }
  | { readonly kind: "kept"; readonly bytes: ArrayBuffer }
  | { readonly kind: "once"; readonly bytes: number | null };

type Attempt =
  | { readonly kind: "answer"; readonly response: Response }
  | { readonly kind: "refused"; readonly response: Response }
  | { readonly kind: "lost" };

/**
 * The request on its way to a target, by one of the tenant's two lanes: as it came, with one header of ours, and its answer goes back as the
 * lane gave it. It is tried on the other lane once, and only where that is provably safe (D14): the lane says that nothing was started, or it
 * was lost before any answer and the request may be repeated. A body that can't be kept is only sent to a lane that has said that it would
 * take it.
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
  // The runtime takes octets that no request line may have; a connector could only blame the target for them.
  if (/[^\x21-\x7e]/.test(to.path + visit.rawQuery))
    return refuse(visit, "bad-request", "The address has characters beyond ASCII: send them percent-encoded.");
  const said = describe(visit, to);
  if (said === null) return refuse(visit, "bad-request", "The address is too long to be carried.");
  const body = visit.body === null ? NO_BODY : await readBody(visit);
  const preferred = load.choose(tenantId);
  const lane = body.kind === "once" ? await acceptingLane(tenantId, to.target, preferred, ports) : preferred;

  const attempt = await attemptOn(lane);
  if (attempt.kind === "answer") return attempt.response;
  const mayRepeat = body.kind !== "once" && (attempt.kind === "refused" || IDEMPOTENT.has(visit.method));
  const repeated: Attempt = mayRepeat ? await attemptOn(otherLane(lane)) : { kind: "lost" };
  if (repeated.kind === "answer") {
    // It is drained, or has no connector of this target: the next ones need not ask it first.
    if (attempt.kind === "refused") {
      load.suspect(tenantId, lane, ports.now() + LIMITS.laneRefusedMs);
      // An answer that nobody reads would keep the lane's object until it is collected.
      attempt.response.body?.cancel().catch(() => undefined);
    }
    return repeated.response;
  }

  const refusals = [attempt, repeated].flatMap((each) => (each.kind === "refused" ? [each.response] : []));
  // A lane with connectors knows more than one without.
  const telling = refusals.find((response) => response.headers.get(HEADER.error) !== "no-connector") ?? refusals[0];
  if (telling !== undefined) return await readable(visit, withoutRefusal(telling));
  return refuse(visit, "not-available", "The relay did not answer. Try again in a moment.", { "retry-after": "1" });

  async function attemptOn(name: LaneName): Promise<Attempt> {
    if (visit.seen.lane !== undefined) visit.span?.event("causeway.lane.retry", { [ATTRIBUTE.lane]: name });
    visit.seen.lane = name;
    const endLease = load.begin(tenantId, name, ...weightOf(body));
    let response: Response;
    try {
      response = await askLane(ports.lane(name, tenantId), visit, said ?? "", body);
    } catch (error) {
      endLease();
      load.suspect(tenantId, name, ports.now() + LIMITS.laneSuspectMs);
      ports.log.warn("lane did not answer", { tenant: tenantId, lane: name, error: String(error) });
      return { kind: "lost" };
    }
    endLease();
    if (response.status >= 400 && response.headers.has(HEADER.error)) {
      if (response.headers.get(HEADER.refused) === "1") return { kind: "refused", response };
      return { kind: "answer", response: await readable(visit, response) };
    }
    const bulkMs = answerBulkMs(response);
    if (bulkMs > 0) load.begin(tenantId, name, "bulk", bulkMs);
    return { kind: "answer", response };
  }
}

const NO_BODY: Body = { kind: "none" };

/** Null: too long. */
function describe(visit: Visit, to: TargetRequest): string | null {
  return encodeVisit({
    requestId: visit.requestId,
    target: to.target,
    prefix: to.prefix,
    path: to.path + visit.rawQuery,
    host: visit.hostWithPort,
    scheme: visit.scheme,
    clientAddress: visit.clientAddress,
    traceparent: visit.traceparent,
    withoutCookies: to.withoutCookies,
    urgency: urgencyOf(visit.request.headers.get("priority")),
    firstByteMs: to.timeouts?.firstByteMs ?? null,
    idleMs: to.timeouts?.idleMs ?? null,
    totalMs: to.timeouts?.totalMs ?? null,
    trace: to.trace,
    ...(to.identity !== undefined && { identity: to.identity }),
  });
}

async function readBody({ request }: Visit): Promise<Body> {
  const bytes = declaredLength(request.headers);
  if (bytes !== null && bytes <= LIMITS.replayableBodyBytes) {
    return { kind: "kept", bytes: await request.arrayBuffer() };
  }
  return { kind: "once", bytes };
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

/** Without a body nothing of the visitor's own request is needed but its fields, and one header carries these for less. */
function askLane(lane: LanePort, visit: Visit, said: string, body: Body): Promise<Response> {
  const { method, request } = visit;
  if (body.kind === "none" && (method === "GET" || method === "HEAD")) {
    const fields = [...request.headers];
    const carried = fields.some(isUpgrade) ? null : withFields(said, fields);
    if (carried !== null)
      return lane.fetch(LANE_URL, { method, headers: { [HEADER.visit]: carried }, redirect: "manual" });
  }
  return lane.fetch(laneRequest(visit, said, body));
}

/** Its path and fields are in the header. */
const LANE_URL = "http://lane/";

/** A WebSocket's handshake goes as it came: the runtime makes the visitor's socket from it. */
const isUpgrade = ([name]: readonly [name: string, value: string]): boolean => name === "upgrade";

/** As it came, with one header of ours: the runtime copies the fields by itself, and moves the body. */
function laneRequest(visit: Visit, said: string, body: Body): Request {
  const { request, method } = visit;
  let copy: Request;
  if (body.kind === "kept") {
    copy = new Request(request.url, { method, headers: request.headers, body: body.bytes, redirect: "manual" });
  } else if (body.kind === "none" && request.body !== null) {
    // Declared to be empty: the runtime would not take it on a GET.
    copy = new Request(request.url, { method, headers: request.headers, redirect: "manual" });
  } else {
    copy = new Request(request, { redirect: "manual" });
  }
  copy.headers.set(HEADER.visit, said);
  return copy;
}

/** How an attempt weighs until its answer's head is there. */
function weightOf(body: Body): [weight: "light" | "bulk", lastsMs: number] {
  return body.kind === "once" ? ["bulk", bulkMs(body.bytes)] : ["light", LIMITS.laneLeaseMs];
}

/**
 * How long a long answer counts as bulk; 0: not at all. An estimate, because to watch its bytes would cost more than all else: nothing of it
 * passes through our code. Events trickle, however long they last.
 */
function answerBulkMs(response: Response): number {
  const { headers } = response;
  const length = declaredLength(headers);
  if (length !== null) return length <= LIMITS.replayableBodyBytes ? 0 : bulkMs(length);
  if (response.status === 101 || response.body === null) return 0;
  return headers.get("content-type")?.startsWith("text/event-stream") === true ? 0 : bulkMs(null);
}

function bulkMs(bytes: number | null): number {
  if (bytes === null) return LIMITS.laneLeaseMs;
  return Math.min(Math.max(bytes / LIMITS.bulkBytesPerMs, LIMITS.laneLeaseMs), LIMITS.bulkLeaseMaxMs);
}

/** Never leaves the edge. */
function withoutRefusal(response: Response): Response {
  const copy = new Response(response.body, response);
  copy.headers.delete(HEADER.refused);
  return copy;
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
