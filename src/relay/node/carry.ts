import type { Exchange, ExchangeEvents, HeaderList } from "../../http1/types.ts";
import { requestRule, responseRule } from "../../policy/header-names.ts";
import { forwardedFields, returnedFields } from "../../policy/headers.ts";
import type { AnswerEvents, BrokerRequest, Call } from "../core/types.ts";
import { socketClose, type LaneFailure } from "../core/failures.ts";
import { withLaneSpan } from "../core/lane-span.ts";
import { traceFields } from "../core/trace.ts";
import { ATTRIBUTE } from "../../shared/tracing/http-span.ts";
import type { Tracer } from "../../shared/tracing/tracer.ts";
import { otherLane, type LaneName, type Lease } from "./lane-choice.ts";
import { BULK_BYTES, REPLAY_BYTES, SOFTWARE } from "./limits.ts";
import { FIRST_BYTE_MS, IDLE_MS } from "../limits.ts";
import type { PeerCall, PeerPatience } from "./peer.ts";
import type { ToTarget } from "./routing.ts";
import { headerOf, refuse, type Visit } from "./visit.ts";
import type { WebSocketBridge } from "./visitor-socket.ts";

export interface CarryPorts {
  readonly lanes: readonly LaneName[];
  /** The other lane's process; null: there is none. */
  readonly peer: PeerCall | null;
  readonly webSockets: WebSocketBridge;
  /** Null: traces are off. */
  readonly tracer: Tracer | null;
  /** Bytes of a body came in. */
  readonly passed: (bytes: number) => void;
  /** The last of a request. */
  readonly ended: (exchange: Exchange, visit: Visit) => void;
}

const SANDBOX: HeaderList = [
  ["content-security-policy", "sandbox"],
  ["x-content-type-options", "nosniff"],
];

/**
 * A visitor's request on its way to a target, and the answer back. It is offered to the other lane once, and only where nothing was started
 * (D14); bytes pass on as the slower side takes them; a visitor that goes away ends the work at the target.
 */
export function carry(exchange: Exchange, visit: Visit, to: ToTarget, ports: CarryPorts): ExchangeEvents {
  const { request: head } = exchange;
  const { tenant } = to;
  const { seen } = visit;
  seen.tenant = tenant.slug;
  seen.target = to.target;

  const isWebSocket = head.upgrade === "websocket";
  const request: BrokerRequest = {
    requestId: visit.requestId,
    target: to.target,
    method: head.method,
    path: to.path,
    headers: requestFields(head.headers, head.host, visit, to),
    body: isWebSocket ? "websocket" : head.body,
    bodyBytes: head.bodyBytes,
    urgency: urgencyOf(headerOf(head.headers, "priority")),
    timeouts: to.timeouts,
    clientAddress: visit.clientAddress,
  };

  let call: Call | null = null;
  let attempts = 0;
  let untried: LaneName | "peer" | null = null;
  let first: LaneFailure | null = null;
  let lease: Lease | null = null;
  /** The body so far, while it can still be offered elsewhere. */
  let kept: Uint8Array[] | null = request.body === "stream" ? [] : null;
  let keptBytes = 0;
  let bodyTrailers: HeaderList | null = null;
  let paused = false;
  /** The answer's head, held back until this turn's bytes are here: small answers leave in one write. */
  let waiting: { status: number; fields: HeaderList; chunks: Uint8Array[] } | null = null;
  let owed = 0;
  let over = false;
  let upgraded = false;

  // ---- towards the target

  function choose(): LaneName {
    const [only, other] = ports.lanes;
    if (only !== undefined && other === undefined) {
      untried = ports.peer === null || visit.fromPeer ? null : "peer";
      return only;
    }
    const preferred = tenant.load.choose();
    const second = otherLane(preferred);
    // What can't be repeated, or might wait, only goes where somebody takes it.
    const asks = request.body === "stream" || tenant.config.settings.waitForConnectorMs > 0;
    const lane =
      asks &&
      tenant.broker(preferred)?.accepts(to.target) === false &&
      tenant.broker(second)?.accepts(to.target) === true
        ? second
        : preferred;
    untried = otherLane(lane);
    return lane;
  }

  function attempt(where: LaneName | "peer"): void {
    const mine = ++attempts;
    if (mine > 1) visit.span?.event("causeway.lane.retry", { [ATTRIBUTE.lane]: where });
    seen.lane = where;
    let made: Call | null = null;
    if (where === "peer") {
      const events = { tunnelled: () => (upgraded = true), ended: finish };
      made = ports.peer?.(exchange, visit, answer, events, patienceOf(to)) ?? null;
    } else {
      lease = tenant.load.begin(where);
      if ((request.bodyBytes ?? 0) > BULK_BYTES) lease.bulk();
      const about = { traceparent: visit.traceparent, tenant: tenant.slug, lane: where };
      made = tenant.broker(where)?.request(withLaneSpan(ports.tracer, request, about), answer) ?? null;
    }
    // A refusal comes from inside, and has been seen to by then.
    if (mine !== attempts || over) return;
    if (made === null) return fail("not-available", "The relay is about to stop. Try again in a moment.");
    call = made;
    if (kept !== null) for (const chunk of kept) call.write(chunk);
    if (bodyTrailers !== null) call.end(bodyTrailers);
    if (paused && call.writable > 0) resume();
  }

  function resume(): void {
    paused = false;
    exchange.resume();
  }

  // ---- towards the visitor

  function flush(): void {
    if (waiting === null) return;
    const { status, fields, chunks } = waiting;
    waiting = null;
    if (!exchange.head(status, fields)) return unsendable();
    for (const chunk of chunks) pass(chunk);
  }

  function pass(bytes: Uint8Array): void {
    // What the visitor does not take at once may stay here for long.
    const more = exchange.write(exchange.unsentBytes > 0 ? apart(bytes) : bytes);
    if (more && owed === 0) call?.consumed(bytes.length);
    else owed += bytes.length;
  }

  function unsendable(): void {
    call?.cancel("the answer can't be sent as HTTP/1.1");
    fail("target-reset", `The answer of the target "${to.target}" can't be passed on as HTTP.`);
  }

  function fail(code: LaneFailure["code"], detail: string, retryAfterSeconds: number | null = null): void {
    over = true;
    const headers: Record<string, string> =
      retryAfterSeconds === null ? {} : { "retry-after": String(retryAfterSeconds) };
    refuse(exchange, visit, code, detail, { headers });
    if (paused) resume();
  }

  const answer: AnswerEvents = {
    interim(interim) {
      if (interim.status === 103) exchange.interim(interim.status, interimFields(interim.headers));
    },
    head({ status, headers }, about) {
      seen.status = status;
      seen.connector = about.connector;
      // The other process has done all this already.
      if (seen.lane === "peer") return begin(status, headers);
      const fields = returnedFields(headers, { requestId: visit.requestId, withoutCookies: to.isShared });
      if (to.trace)
        fields.push(...traceFields(about, SOFTWARE).map(([name, value]): [string, string] => [name, value]));
      if (status === 101) return upgrade(fields, headers);
      begin(status, to.isShared ? [...fields, ...SANDBOX] : fields);
    },
    data(bytes) {
      seen.bytesDown += bytes.length;
      if (seen.bytesDown > BULK_BYTES) lease?.bulk();
      if (waiting === null) pass(bytes);
      else waiting.chunks.push(bytes);
    },
    end(sent) {
      const trailers = fromOutside(sent, responseRule);
      over = true;
      if (waiting === null || trailers.length > 0 || waiting.chunks.length > 1) {
        flush();
        exchange.end(trailers);
        return;
      }
      const { status, fields, chunks } = waiting;
      waiting = null;
      const [body] = chunks;
      if (!exchange.respond(status, fields, body ?? null)) return unsendable();
      if (body !== undefined) call?.consumed(body.length);
    },
    message: (kind, data, creditBytes) => socket?.message(kind, data, creditBytes),
    messageClose: (code, reason) => socket?.messageClose(code, reason),
    writable() {
      if (socket !== null) socket.writable();
      else if (paused) resume();
    },
    failed(failure) {
      call = null;
      lease?.end();
      lease = null;
      // Where the other process can't be reached, what this one said tells more; but not that there is no such target, which it can't know.
      const telling = seen.lane === "peer" && first?.code !== "unknown-target" ? (first ?? failure) : failure;
      first ??= failure;
      const next = untried;
      untried = null;
      const whole = request.body !== "stream" || kept !== null;
      if (failure.tryElsewhere && whole && next !== null && !exchange.closed) return attempt(next);
      fail(telling.code, telling.detail, telling.retryAfterSeconds);
    },
    broken(failure) {
      seen.code = failure.code;
      over = true;
      waiting = null;
      if (socket === null) return exchange.abort();
      const { code, reason } = socketClose(failure);
      socket.messageClose(code, reason);
    },
  };

  function begin(status: number, fields: HeaderList): void {
    waiting = { status, fields, chunks: [] };
    // Runs when the tunnel's message has been read to its end: whatever of this answer was in it is here by then.
    queueMicrotask(flush);
  }

  let socket: ReturnType<WebSocketBridge> = null;
  function upgrade(fields: HeaderList, target: HeaderList): void {
    if (call === null) return;
    upgraded = true;
    socket = ports.webSockets(exchange, call, fields, headerOf(target, "sec-websocket-protocol"), {
      moved(up, down) {
        seen.bytesUp += up;
        seen.bytesDown += down;
      },
      ended: () => finish(),
    });
    if (socket !== null) return;
    call.cancel("the visitor went away");
    finish();
  }

  function finish(): void {
    over = true;
    lease?.end();
    lease = null;
    ports.ended(exchange, visit);
  }

  attempt(choose());

  return {
    data(bytes) {
      ports.passed(bytes.length);
      seen.bytesUp += bytes.length;
      if (seen.bytesUp > BULK_BYTES) lease?.bulk();
      if (kept !== null) {
        keptBytes += bytes.length;
        if (keptBytes > REPLAY_BYTES) kept = null;
        else kept.push(bytes);
      }
      const current = call;
      // What it takes may be too much: then it has failed, and `call` is another one, or none.
      if (current === null || current.closed || current.write(bytes) > 0 || current.closed) return;
      paused = true;
      exchange.pause();
    },
    end(trailers) {
      bodyTrailers = fromOutside(trailers, requestRule);
      call?.end(bodyTrailers);
    },
    writable() {
      const bytes = owed;
      owed = 0;
      call?.consumed(bytes);
    },
    closed(outcome) {
      if (upgraded) return;
      if (outcome.kind === "gone") {
        attempts += 1;
        call?.cancel("the visitor went away");
      } else {
        // What a slow visitor took after the answer's end: nobody hears of room for more by then.
        call?.consumed(owed);
        owed = 0;
      }
      finish();
    },
  };
}

/** A small piece of a long message of the tunnel's, alone: it would keep the whole message, pieces of others included. */
function apart(bytes: Uint8Array): Uint8Array {
  // (`slice` of a Buffer would be a view.)
  return bytes.buffer.byteLength > 2 * bytes.length ? new Uint8Array(bytes) : bytes;
}

/** The visitor's fields for the target. A service token is for us: it goes no further. */
function requestFields(headers: HeaderList, host: string, visit: Visit, to: ToTarget): HeaderList {
  const hostWithPort = host.toLowerCase();
  const fields = forwardedFields(headers, {
    hostWithPort,
    scheme: visit.scheme,
    clientAddress: visit.clientAddress,
    requestId: visit.requestId,
    traceparent: visit.traceparent,
    webSocket: false,
    prefix: to.prefix,
    withoutCookies: to.isShared,
  });
  fields.push(["host", hostWithPort]);
  return to.access === "token" ? fields.filter(([name]) => name.toLowerCase() !== "authorization") : fields;
}

/** Trailers that are no business of ours: some servers merge them with the fields, where ours would be forged by them. */
const fromOutside = (trailers: HeaderList, rule: (name: string) => string): HeaderList =>
  trailers.length === 0 ? trailers : trailers.filter(([name]) => rule(name) === "pass");

/** As the broker of the other process: the route's, else the tenant's, else everybody's. */
function patienceOf({ timeouts: route, tenant }: ToTarget): PeerPatience {
  const { timeouts, waitForConnectorMs } = tenant.config.settings;
  return {
    headMs: (route.firstByteMs ?? timeouts.firstByteMs ?? FIRST_BYTE_MS) + waitForConnectorMs,
    idleMs: route.idleMs ?? timeouts.idleMs ?? IDLE_MS,
  };
}

/** RFC 9218: `u=0` (first) to `u=7`; 3 where nothing is said. */
function urgencyOf(priority: string | null): number {
  if (priority === null) return 3;
  const [, level] = /(?:^|,)\s*u=([0-7])\b/.exec(priority) ?? [];
  return level === undefined ? 3 : Number(level);
}

/** Hints for the browser, and nothing else: the final head follows. */
const interimFields = (headers: HeaderList): HeaderList => headers.filter(([name]) => name.toLowerCase() === "link");
