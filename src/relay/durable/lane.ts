import { DurableObject } from "cloudflare:workers";
import { z } from "zod";
import { forwardedFields, forwardingOf } from "../../policy/headers.ts";
import { HEADER } from "../../protocol/headers.ts";
import {
  connectorGrant,
  tenantSettings,
  type ConnectorGrant,
  type ConnectorSession,
  type LaneDrain,
  type LaneRpc,
  type PairingRequest,
  type TenantSettings,
} from "../../protocol/lane.ts";
import type { RelayEvent } from "../../protocol/queue-messages.ts";
import { decodeCarried, type LaneVisit } from "../../protocol/visit.ts";
import { systemClock } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import { createLogger, type Logger } from "../../shared/log.ts";
import { problem, problemResponse, type ErrorCode } from "../../shared/problem.ts";
import type { TraceEnv } from "../../shared/tracing/settings.ts";
import type { Tracer } from "../../shared/tracing/tracer.ts";
import { workerTracer } from "../../shared/tracing/worker-tracer.ts";
import { createAccessTokens } from "../admission/access-token.ts";
import {
  createAdmission,
  type AdmissionRpc,
  type PairRequest,
  type Refusal,
  type TenantAdmission,
  type TokenAnswer,
  type TokenRequest,
} from "../admission/admission.ts";
import { bearerToken } from "../admission/identity.ts";
import { createBroker } from "../core/broker.ts";
import { withLaneSpan } from "../core/lane-span.ts";
import type { Broker, BrokerRequest, Link } from "../core/types.ts";
import {
  DRAIN_GRACE_MAX_MS,
  FIRST_BYTE_MS,
  FLUSH_AT_ONCE_BELOW,
  IDLE_MS,
  IDLE_SOCKET_MS,
  OBJECT_LIMITS,
  RECEIVE_BUDGET_BYTES,
  RETRY_AFTER_SECONDS,
  SESSION_LIMITS,
  SWEEP_MS,
} from "../limits.ts";
import { createHold } from "./hold.ts";
import { octetsOf } from "./octets.ts";
import { createPresence, type Presence } from "./presence.ts";
import { pumpRequestBody } from "./request-body.ts";
import { answerClose, brokerSocket, restoredLink } from "./sockets.ts";
import { createLaneStore, type LaneStore } from "./store.ts";
import { VisitorAnswer } from "./visitor-answer.ts";

/** With the variables of traces (OTEL_*, docs/operations.md), all of them optional. */
export interface LaneEnv extends TraceEnv {
  readonly LANE: "a" | "b";
  readonly EVENTS: Queue<RelayEvent>;
  /** Signs access tokens of the token endpoint (admission/access-token.ts); both lanes have the same. Without it nobody gets one. */
  readonly RELAY_TOKEN_KEY?: string;
  /** Of this deploy; without it a hold outlasts one. */
  readonly VERSION?: { readonly id: string };
  /** Optional, in seconds; default 50. */
  readonly FIRST_BYTE_SECONDS?: string;
  /** Optional, in seconds; default 3600. WebSockets have a day, or this if it is longer. */
  readonly IDLE_SECONDS?: string;
}

/** Set by our Worker on the way to the object, with the origin that was dialled; a request of the edge has a visit instead. */
export const CONNECT_HEADER = "causeway-connect";
/** Beside it: the name that the connector gave with a token that does not say it. */
export const CONNECTOR_HEADER = "causeway-connector";

/** What a connector is told. Never which part of its credential is wrong. */
const REFUSED: Readonly<Record<Refusal["kind"], string>> = {
  unauthorized: "The credential does not prove a connector of this tenant.",
  forbidden: "This connector is disabled, or its time is over.",
  "not-available": "The relay of this tenant is switched off.",
  "over-capacity": "This tenant dials too often.",
};

const SOFTWARE = "causeway-relay";

/**
 * One lane of one tenant (the object's name is the tenant's id) as a Durable Object: hands what sockets, visitors, storage and clock say to
 * the broker, which decides. Rights come from its own storage, so it works while the control plane is away.
 */
export class Lane extends DurableObject<LaneEnv> implements LaneRpc, AdmissionRpc {
  readonly #tenantId: string;
  readonly #store: LaneStore;
  readonly #presence: Presence;
  readonly #admission: TenantAdmission;
  readonly #broker: Broker;
  readonly #log: Logger;
  readonly #tracer: Tracer | null;
  readonly #links = new Map<WebSocket, Link>();
  #sweeper: ReturnType<typeof setInterval> | null = null;
  #alarmMs: number | null = null;

  constructor(state: DurableObjectState, env: LaneEnv) {
    super(state, env);
    this.#tenantId = state.id.name ?? "";
    this.#log = createLogger(`lane-${env.LANE}`, (line) => console.log(line), {
      fields: { tenant: state.id.name ?? null },
    });
    const about = { part: "lane", service: `causeway-relay-${env.LANE}` };
    this.#tracer = workerTracer(env, about, this.#log, (work) => state.waitUntil(work));
    const store = createLaneStore(state.storage.sql, this.#tenantId, systemClock);
    this.#store = store;
    // Answered by the runtime while the object sleeps, so keeping a socket open costs nothing.
    state.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    const asleep = state.getWebSockets().map((socket) => ({ socket, link: restoredLink(socket) }));
    this.#presence = createPresence(
      {
        sql: state.storage.sql,
        queue: env.EVENTS,
        now: systemClock,
        log: this.#log,
        tenantId: this.#tenantId,
        lane: env.LANE,
      },
      new Set(asleep.flatMap(({ link }) => (link === null ? [] : [link.sessionId]))),
    );
    const tokenKey = env.RELAY_TOKEN_KEY ?? "";
    this.#admission = createAdmission({
      grants: store.grants,
      settings: () => store.settings,
      accessTokens: tokenKey === "" ? null : createAccessTokens(tokenKey),
      now: systemClock,
      newTokenId: () => newId("tok"),
      use: (assertion, untilMs) => store.use(assertion, untilMs),
      pairing: () => store.pairing(),
      askToPair: (asked) => store.askToPair(asked),
    });
    const idleMs = seconds("IDLE_SECONDS", env.IDLE_SECONDS) ?? IDLE_MS;
    this.#broker = createBroker({
      lane: env.LANE,
      // The runtime has one clock only, and lets it stand while code runs.
      now: systemClock,
      wallNow: systemClock,
      random: Math.random,
      // setImmediate gathers what the turns of many requests send, but takes a whole millisecond in this runtime: not for a few.
      defer: (run) => void (this.#broker.inFlight < FLUSH_AT_ONCE_BELOW ? queueMicrotask(run) : setImmediate(run)),
      software: SOFTWARE,
      log: this.#log,
      grants: store.grants,
      settings: () => store.settings,
      online: (link) => this.#tell(() => this.#presence.online(link)),
      offline: (link, reason) => this.#tell(() => this.#presence.offline(link, reason)),
      wake: () => this.#watch(),
      renew: (link, token) => this.#admission.renew(link.connectorId, token),
      allocate: slab(),
      hold: createHold(state.storage.sql, env.VERSION?.id ?? ""),
      budget: { totalBytes: RECEIVE_BUDGET_BYTES, committedBytes: 0 },
      limits: {
        ...OBJECT_LIMITS,
        firstByteMs: seconds("FIRST_BYTE_SECONDS", env.FIRST_BYTE_SECONDS) ?? FIRST_BYTE_MS,
        idleMs,
        idleSocketMs: Math.max(idleMs, IDLE_SOCKET_MS),
      },
    });
    for (const { socket, link } of asleep) {
      if (link !== null) this.#links.set(socket, this.#broker.attach(brokerSocket(socket), link, link));
    }
    // What could not be told before the object died or fell asleep.
    if (this.#presence.dueMs !== null) state.waitUntil(this.#sendPresence());
  }

  override fetch(request: Request): Promise<Response> {
    const told = request.headers.get(HEADER.visit);
    const carried = told === null ? null : decodeCarried(told);
    // All at once: each look at the runtime's own headers is a call out of the engine.
    if (carried !== null) return this.#carry(request, carried.fields ?? [...request.headers], carried.visit);
    const audience = request.headers.get(CONNECT_HEADER);
    if (audience !== null) return this.#admit(request, audience);
    return Promise.resolve(refusal("not-found", "A lane answers the edge and connectors only."));
  }

  // ---- control

  async putConnector(input: ConnectorGrant): Promise<{ applied: boolean; revision: number }> {
    const grant = connectorGrant.parse(input);
    if (this.#tenantId !== "" && this.#tenantId !== grant.tenantId) throw new Error("the grant is of another tenant");
    const result = this.#store.put(grant);
    if (result.applied) this.#broker.grantChanged(grant);
    this.#schedule();
    return result;
  }

  async removeConnector(connectorId: string, revision: number): Promise<{ applied: boolean; revision: number }> {
    const result = this.#store.remove(connectorId, revision);
    if (result.applied) this.#broker.grantRemoved(connectorId);
    return result;
  }

  async putSettings(input: TenantSettings): Promise<{ applied: boolean; revision: number }> {
    const settings = tenantSettings.parse(input);
    if (this.#tenantId !== "" && this.#tenantId !== settings.tenantId)
      throw new Error("the settings are of another tenant");
    const result = this.#store.putSettings(settings);
    if (result.applied) this.#broker.settingsChanged(settings);
    this.#schedule();
    return result;
  }

  async kick(connectorId: string, instanceId: string | null): Promise<number> {
    return this.#broker.kick(connectorId, instanceId, "an operator ended the connection");
  }

  async pairingRequests(): Promise<PairingRequest[]> {
    return this.#store.pairing();
  }

  async settlePairing(id: string): Promise<void> {
    this.#store.settlePairing(id);
  }

  async accepts(target: string): Promise<boolean> {
    return this.#broker.accepts(target);
  }

  async sessions(): Promise<ConnectorSession[]> {
    return this.#broker.sessions();
  }

  async drain(graceMs: number, holdMs = 0): Promise<LaneDrain> {
    const duration = z.number().int().min(0).max(DRAIN_GRACE_MAX_MS);
    return this.#broker.drain(duration.parse(graceMs), duration.parse(holdMs));
  }

  async serve(): Promise<void> {
    this.#broker.serve();
  }

  // ---- connectors

  async token(request: TokenRequest): Promise<TokenAnswer> {
    return await this.#admission.token(request);
  }

  async pair(request: PairRequest): Promise<{ readonly id: string } | "closed"> {
    return await this.#admission.pair(request);
  }

  async pairStatus(id: string): Promise<"pending" | "accepted" | "unknown"> {
    return await this.#admission.pairStatus(id);
  }

  async #admit(request: Request, audience: string): Promise<Response> {
    const token = bearerToken(request.headers.get("authorization"));
    if (token === null) return refusal("unauthorized", "A connector shows a signed assertion or a token.");
    const connector = request.headers.get(CONNECTOR_HEADER);
    const admitted = await this.#admission.admit(token, audience, connector);
    // Nothing may be awaited from here to the socket: what was checked must still be so.
    if (!admitted.ok) {
      const { kind, why } = admitted.error;
      this.#log.warn("a connector was refused", { why });
      return refusal(kind, REFUSED[kind]);
    }
    const { grant, credential } = admitted.value;
    const { connectorId } = grant;
    if (this.#store.grants.get(connectorId) !== grant)
      return refusal("not-available", "The connector's rights have just changed.");
    if (this.#broker.hasRoomFor(connectorId) === "full")
      return refusal("over-capacity", "This tenant has as many connectors here as it may.");
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    const accepted = { sessionId: newId("ses"), connectorId, credential };
    this.#links.set(server, this.#broker.attach(brokerSocket(server), accepted));
    this.#schedule();
    return new Response(null, { status: 101, webSocket: client });
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#links.get(socket)?.received(typeof message === "string" ? message : new Uint8Array(message));
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    this.#gone(socket, `closed with ${code}${reason === "" ? "" : ` ${reason}`}`);
    answerClose(socket, code);
  }

  override webSocketError(socket: WebSocket, error: unknown): void {
    this.#gone(socket, `failed: ${String(error)}`);
  }

  #gone(socket: WebSocket, reason: string): void {
    this.#links.get(socket)?.gone(reason);
    this.#links.delete(socket);
  }

  // ---- visitors

  #carry(request: Request, fields: Fields, visit: LaneVisit): Promise<Response> {
    const { method, body } = request;
    const { requestId, target, path } = visit;
    const isUpgrade = method === "GET" && isWebSocket(fields);
    const { firstByteMs, idleMs, totalMs } = visit;
    const brokerRequest: BrokerRequest = {
      requestId,
      target,
      method,
      path,
      headers: [["host", visit.host], ...inOctets(forwardedFields(fields, forwardingOf(visit)))],
      body: isUpgrade ? "websocket" : body === null ? "none" : "stream",
      bodyBytes: body === null ? null : contentLength(fields),
      urgency: visit.urgency,
      timeouts: { firstByteMs, idleMs, totalMs },
      clientAddress: visit.clientAddress,
    };
    const trace = visit.trace && this.#store.settings.tracing;
    const { tenant } = this.#store.settings;
    const about = { traceparent: visit.traceparent, tenant, lane: this.env.LANE };
    const answer = new VisitorAnswer({ visit, method, trace, software: SOFTWARE });
    const call = this.#broker.request(withLaneSpan(this.#tracer, brokerRequest, about), answer);
    answer.call = call;
    if (body !== null && !isUpgrade) {
      const pump = pumpRequestBody(body, call, () => answer.abandon());
      answer.roomy = () => pump.wake();
    }
    return answer.response;
  }

  // ---- clock and presence

  /** Deadlines are looked at by one timer, and only while there is something to look at: a timer keeps the object from sleeping. */
  #watch(): void {
    if (this.#sweeper !== null || !this.#broker.busy) return;
    this.#sweeper = setInterval(() => {
      this.#broker.sweep();
      if (this.#broker.busy || this.#sweeper === null) return;
      clearInterval(this.#sweeper);
      this.#sweeper = null;
      this.#schedule();
    }, SWEEP_MS);
  }

  /** While the object sleeps, an alarm stands for the timer: what runs out, and what the queue did not take. */
  #schedule(): void {
    const times = [this.#broker.nextDueMs, this.#presence.dueMs].filter((time) => time !== null);
    const due = times.length === 0 ? null : Math.min(...times);
    if (due === null || due === this.#alarmMs) return;
    this.#alarmMs = due;
    this.ctx.waitUntil(this.ctx.storage.setAlarm(due));
  }

  override async alarm(): Promise<void> {
    this.#alarmMs = null;
    this.#broker.sweep();
    await this.#sendPresence();
    this.#schedule();
  }

  #tell(note: () => void): void {
    note();
    this.ctx.waitUntil(this.#sendPresence());
  }

  async #sendPresence(): Promise<void> {
    await this.#presence.send();
    this.#schedule();
  }
}

/** The runtime copies what is sent, so all messages are built in one place, one after another. */
function slab(): (bytes: number) => Uint8Array {
  let room = new Uint8Array(SESSION_LIMITS.messageBytes);
  return (bytes) => {
    if (room.length < bytes) room = new Uint8Array(bytes);
    return room.subarray(0, bytes);
  };
}

type Fields = readonly (readonly [name: string, value: string])[];
function valueOf(fields: Fields, wanted: string): string | null {
  for (const [name, value] of fields) if (name === wanted) return value;
  return null;
}

function inOctets(fields: [name: string, value: string][]): Fields {
  for (const field of fields) field[1] = octetsOf(field[1]);
  return fields;
}

const isWebSocket = (fields: Fields): boolean => valueOf(fields, "upgrade")?.toLowerCase() === "websocket";

/** Only a plain number: null is counted while it comes. */
function contentLength(fields: Fields): number | null {
  const text = valueOf(fields, "content-length");
  return text !== null && /^[0-9]{1,15}$/.test(text) ? Number(text) : null;
}

/** In milliseconds. A wrong setting fails loudly instead of being guessed. */
function seconds(setting: string, text: string | undefined): number | null {
  if (text === undefined || text === "") return null;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${setting} is not a positive number: ${text}`);
  return value * 1_000;
}

function refusal(code: ErrorCode, detail: string): Response {
  const headers: Record<string, string> = {};
  if (code === "over-capacity" || code === "not-available") headers["retry-after"] = String(RETRY_AFTER_SECONDS);
  return problemResponse(problem(code, detail, newId("req")), headers);
}
