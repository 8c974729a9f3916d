import { DurableObject } from "cloudflare:workers";
import { z } from "zod";
import { HEADER } from "../protocol/headers.ts";
import {
  connectorGrant,
  type ConnectorGrant,
  type ConnectorSession,
  type LaneDrain,
  type LaneRpc,
} from "../protocol/lane.ts";
import type { RelayEvent } from "../protocol/queue-messages.ts";
import { CLOSE } from "../protocol/tunnel/close-codes.ts";
import { systemClock } from "../shared/clock.ts";
import { newId } from "../shared/ids.ts";
import { createLogger, type Logger } from "../shared/log.ts";
import { problem, problemResponse, type ErrorCode } from "../shared/problem.ts";
import { bearerToken, verifyAssertion } from "./lane-admission.ts";
import { createRequestBody } from "./lane-body.ts";
import { createDrain, type Drain } from "./lane-drain.ts";
import { failureOf, failureResponse, type LaneFailure } from "./lane-errors.ts";
import { exchange, type Attempt, type Exchange, type TargetRequest } from "./lane-exchange.ts";
import { requestFields } from "./lane-headers.ts";
import { createLinks, type Link, type Links } from "./lane-links.ts";
import { pick } from "./lane-pick.ts";
import { createLaneStore, type LaneStore } from "./lane-store.ts";
import {
  ATTEMPTS_MAX,
  DRAIN_GRACE_MAX_MS,
  FIRST_BYTE_MS,
  FLUSH_AT_ONCE_BELOW,
  IDLE_MS,
  IDLE_SOCKET_MS,
  IN_FLIGHT_MAX,
  RETRY_AFTER_SECONDS,
  SOCKETS_MAX,
  SWEEP_MS,
} from "./limits.ts";

export interface LaneEnv {
  readonly LANE: "a" | "b";
  readonly EVENTS: Queue<RelayEvent>;
  /** Optional, in seconds; default 50. */
  readonly FIRST_BYTE_SECONDS?: string;
  /** Optional, in seconds; default 3600. WebSockets have a day, or this if it is longer. */
  readonly IDLE_SECONDS?: string;
}

/** Set by our Worker on the way to the object, with the origin that was dialled; a request of the edge has a target instead. */
export const CONNECT_HEADER = "causeway-connect";

/** RFC 9110, section 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/**
 * One lane of one tenant (the object's name is the tenant's id): holds connectors' sockets and carries visitors' requests over them. Rights
 * come from its own storage, so it works while the control plane is away. Frames are applied synchronously; IO follows.
 */
export class Lane extends DurableObject<LaneEnv> implements LaneRpc {
  readonly #store: LaneStore;
  readonly #links: Links;
  readonly #drain: Drain;
  readonly #log: Logger;
  readonly #running = new Set<Exchange>();
  readonly #firstByteMs: number;
  readonly #idleMs: number;
  #sweeper: ReturnType<typeof setInterval> | null = null;

  constructor(state: DurableObjectState, env: LaneEnv) {
    super(state, env);
    this.#log = createLogger(`lane-${env.LANE}`, (line) => console.log(line), {
      fields: { tenant: state.id.name ?? null },
    });
    this.#firstByteMs = seconds("FIRST_BYTE_SECONDS", env.FIRST_BYTE_SECONDS) ?? FIRST_BYTE_MS;
    this.#idleMs = seconds("IDLE_SECONDS", env.IDLE_SECONDS) ?? IDLE_MS;
    this.#store = createLaneStore(state.storage.sql, systemClock);
    // Answered by the runtime while the object sleeps, so keeping a socket open costs nothing.
    state.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    this.#links = createLinks(
      {
        now: systemClock,
        // setImmediate gathers what the turns of many requests send, but takes a whole millisecond in this runtime: not for a few.
        defer: (run) => void (this.#running.size < FLUSH_AT_ONCE_BELOW ? queueMicrotask(run) : setImmediate(run)),
        software: "causeway-relay",
        log: this.#log,
        online: (link) => this.#announce("connector-online", link, null),
        offline: (link, reason) => this.#announce("connector-offline", link, reason),
      },
      state.getWebSockets(),
    );
    this.#drain = createDrain(this.#links);
  }

  override async fetch(request: Request): Promise<Response> {
    const target = request.headers.get(HEADER.target);
    if (target !== null) return await this.#carry(request, target);
    const audience = request.headers.get(CONNECT_HEADER);
    if (audience !== null) return await this.#admit(request, audience);
    return refusal("not-found", "A lane answers the edge and connectors only.");
  }

  // ---- control

  async putConnector(input: ConnectorGrant): Promise<{ applied: boolean; revision: number }> {
    const grant = connectorGrant.parse(input);
    const { name } = this.ctx.id;
    if (name !== undefined && name !== grant.tenantId) throw new Error("the grant is of another tenant");
    const result = this.#store.put(grant);
    if (result.applied) this.#endUnentitled(grant.connectorId);
    return result;
  }

  async removeConnector(connectorId: string, revision: number): Promise<{ applied: boolean; revision: number }> {
    const result = this.#store.remove(connectorId, revision);
    if (result.applied) this.#endUnentitled(connectorId);
    return result;
  }

  async accepts(target: string): Promise<boolean> {
    if (this.#drain.state !== "serving") return false;
    return this.#running.size < IN_FLIGHT_MAX && this.#candidates(target).some(hasRoom);
  }

  async sessions(): Promise<ConnectorSession[]> {
    return [...this.#links.all()].flatMap((link) => {
      const grant = this.#store.grants.get(link.connectorId);
      if (grant === undefined || link.instanceId === "") return [];
      const { connectorId, instanceId, sinceMs, inFlight } = link;
      return [
        {
          connectorId,
          connector: grant.name,
          instanceId,
          lane: this.env.LANE,
          sinceMs,
          targets: [...link.targets],
          inFlight,
        },
      ];
    });
  }

  async drain(graceMs: number): Promise<LaneDrain> {
    const milliseconds = z.number().int().min(0).max(DRAIN_GRACE_MAX_MS).parse(graceMs);
    if (this.#drain.state === "serving") this.#log.info("draining", { graceMs, inFlight: this.#running.size });
    this.#drain.begin(milliseconds);
    return this.#drain.progress(this.#running.size);
  }

  /** Sockets whose connector was disabled or removed, or whose key was taken away. */
  #endUnentitled(connectorId: string): void {
    const grant = this.#store.grants.get(connectorId);
    for (const link of this.#links.all()) {
      if (link.connectorId !== connectorId) continue;
      if (grant === undefined) this.#links.close(link, CLOSE.revoked, "the connector was removed");
      else if (grant.disabled) this.#links.close(link, CLOSE.revoked, "the connector was disabled");
      else if (!grant.keys.some(({ kid }) => kid === link.kid))
        this.#links.close(link, CLOSE.unauthorized, "the key was removed");
    }
  }

  // ---- connectors

  async #admit(request: Request, audience: string): Promise<Response> {
    const token = bearerToken(request.headers.get("authorization"));
    if (token === null) return refusal("unauthorized", "A connector shows a signed assertion.");
    const nowMs = systemClock();
    const verified = await verifyAssertion(token, audience, [...this.#store.grants.values()], nowMs);
    if (!verified.ok) {
      this.#log.warn("a connector was refused", { why: verified.error.why });
      return verified.error.kind === "forbidden"
        ? refusal("forbidden", "This connector is disabled.")
        : refusal("unauthorized", "The assertion does not prove a connector of this tenant.");
    }
    // Nothing may be awaited from here to the socket: what was checked must still be so.
    const { grant, kid, assertion, rememberUntilMs } = verified.value;
    if (this.#store.grants.get(grant.connectorId) !== grant)
      return refusal("not-available", "The connector's rights have just changed.");
    if ([...this.#links.all()].length >= SOCKETS_MAX)
      return refusal("over-capacity", "This tenant has too many sockets here.");
    const use = this.#store.use(assertion, rememberUntilMs);
    if (use === "used") return refusal("unauthorized", "The assertion was used before.");
    if (use === "full") return refusal("over-capacity", "This tenant dials too often.");
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    this.#links.add(server, { sessionId: newId("ses"), connectorId: grant.connectorId, kid });
    return new Response(null, { status: 101, webSocket: client });
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#links.received(socket, message);
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    this.#links.gone(socket, `closed with ${code}${reason === "" ? "" : ` ${reason}`}`);
    answerClose(socket, code);
  }

  override webSocketError(socket: WebSocket, error: unknown): void {
    this.#links.gone(socket, `failed: ${String(error)}`);
  }

  #announce(kind: "connector-online" | "connector-offline", link: Link, reason: string | null): void {
    const { sessionId, connectorId, instanceId } = link;
    const tenantId = this.ctx.id.name ?? this.#store.grants.get(connectorId)?.tenantId ?? "";
    this.#log.info(kind, { connector: connectorId, instance: instanceId, session: sessionId, reason });
    const event = {
      kind,
      tenantId,
      connectorId,
      instanceId,
      lane: this.env.LANE,
      sessionId,
      reason,
      atMs: systemClock(),
    };
    const sent = this.env.EVENTS.send(event).catch((error: unknown) =>
      this.#log.error("an event was lost", { kind, error: String(error) }),
    );
    this.ctx.waitUntil(sent);
  }

  // ---- visitors

  async #carry(request: Request, target: string): Promise<Response> {
    const requestId = request.headers.get(HEADER.requestId) ?? newId("req");
    const refuse = (code: ErrorCode, detail: string): Response =>
      failureResponse({ code, detail, started: false }, requestId);
    if (this.#drain.state === "draining")
      return refuse("not-available", "This lane of the relay is about to be replaced. Try again in a moment.");
    if (this.#running.size >= IN_FLIGHT_MAX)
      return refuse("over-capacity", "Too many requests of this tenant are under way at this lane.");
    const url = new URL(request.url);
    const body = request.body === null ? null : createRequestBody(request.body);
    const outgoing: TargetRequest = {
      target,
      method: request.method,
      path: request.url.slice(url.origin.length),
      headers: requestFields(request, url.host),
      body,
      webSocket: request.headers.get("upgrade")?.toLowerCase() === "websocket",
      firstByteMs: this.#firstByteMs,
      idleMs: this.#idleMs,
      idleSocketMs: Math.max(this.#idleMs, IDLE_SOCKET_MS),
    };
    const tried = new Set<Link>();
    let failure: LaneFailure | null = null;
    while (tried.size < ATTEMPTS_MAX) {
      const link = pick(
        this.#candidates(target).filter((candidate) => !tried.has(candidate) && hasRoom(candidate)),
        Math.random,
      );
      if (link === null) break;
      tried.add(link);
      this.#watch();
      const attempt = await exchange(link.session, outgoing, this.#running);
      if (attempt.kind === "response") return attempt.response;
      if (attempt.kind === "not-opened" && attempt.error.reason === "not-sendable") {
        failure = {
          code: "bad-request",
          detail: `The request can't be carried: ${attempt.error.text}.`,
          started: false,
        };
        break;
      }
      if (attempt.kind === "failed") failure = failureOf(attempt.reason, target, attempt.text);
      if (!mayTryAgain(attempt, outgoing)) break;
    }
    body?.cancel();
    return failureResponse(failure ?? this.#absence(target), requestId);
  }

  /** Rights are checked here, at every request, not only when the connector dialled. */
  #candidates(target: string): Link[] {
    return [...this.#links.all()].filter((link) => {
      const grant = this.#store.grants.get(link.connectorId);
      return (
        link.targets.has(target) &&
        !link.draining &&
        link.session.state === "open" &&
        grant !== undefined &&
        isEntitled(grant, target)
      );
    });
  }

  /** Why nobody can take a request for the target. */
  #absence(target: string): LaneFailure {
    const absent = (code: ErrorCode, detail: string): LaneFailure => ({ code, detail, started: false });
    if (this.#candidates(target).length > 0)
      return absent("over-capacity", `The connectors of "${target}" are at their limits.`);
    const greeted = [...this.#links.all()].filter(({ instanceId, draining }) => instanceId !== "" && !draining);
    const expected = [...this.#store.grants.values()].some(
      (grant) => grant.targets?.includes(target) && isEntitled(grant, target),
    );
    return greeted.length === 0 || expected
      ? absent("no-connector", `No connector that serves "${target}" is online.`)
      : absent("unknown-target", `No connector of this tenant serves the target "${target}".`);
  }

  /** Deadlines are looked at by one timer, and only while there is something to look at: a timer keeps the object from sleeping. */
  #watch(): void {
    this.#sweeper ??= setInterval(() => {
      const nowMs = systemClock();
      for (const running of this.#running) running.sweep(nowMs);
      this.#links.sweep();
      if (this.#running.size > 0 || this.#sweeper === null) return;
      clearInterval(this.#sweeper);
      this.#sweeper = null;
    }, SWEEP_MS);
  }
}

/** In milliseconds. A wrong setting fails loudly instead of being guessed. */
function seconds(setting: string, text: string | undefined): number | null {
  if (text === undefined || text === "") return null;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${setting} is not a positive number: ${text}`);
  return value * 1_000;
}

/** The runtime answers a close by itself on ordinary sockets only; without one a hibernatable socket of the peer hangs half closed. */
function answerClose(socket: WebSocket, code: number): void {
  try {
    if (code === 1000 || (code >= 3000 && code < 5000)) socket.close(code);
    else socket.close(1000);
  } catch {
    // It was we who closed first, or the peer is gone: there is nobody to answer.
  }
}

const isEntitled = (grant: ConnectorGrant, target: string): boolean =>
  !grant.disabled && (grant.targets === null || grant.targets.includes(target));

const hasRoom = (link: Link): boolean => link.inFlight < (link.session.peer?.limits.streams ?? 0);

/**
 * Provably safe to repeat (D14): nothing was started; or no byte of an answer came, the method is idempotent and the body is still here.
 * In both cases a body that was not kept can't be sent again.
 */
function mayTryAgain(attempt: Attempt, { method, body, webSocket }: TargetRequest): boolean {
  if (attempt.kind === "response") return false;
  if (attempt.kind === "not-opened") return true;
  if (body !== null && !body.replayable) return false;
  if (attempt.reason === "refused-before-start" || attempt.reason === "unknown-target") return true;
  return attempt.reason === "session-lost" && !attempt.answered && !webSocket && IDEMPOTENT.has(method);
}

function refusal(code: ErrorCode, detail: string): Response {
  const headers: Record<string, string> = {};
  if (code === "over-capacity" || code === "not-available") headers["retry-after"] = String(RETRY_AFTER_SECONDS);
  return problemResponse(problem(code, detail, newId("req")), headers);
}
