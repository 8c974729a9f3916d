import { CLOSE } from "../../protocol/tunnel/close-codes.ts";
import type { HeaderList } from "../../protocol/tunnel/session.ts";
import { LinkedList } from "../../protocol/linked-list.ts";
import { BUSY_RETRY_AFTER_SECONDS, STALLED_MS } from "../limits.ts";
import { answerReserve, createSendAccount } from "./account.ts";
import { bodyTooLarge, CallCore, type CallLimits, type CallPorts } from "./call.ts";
import { createCandidates } from "./candidates.ts";
import { createDrain } from "./drain.ts";
import { finalRefusal, refusal, tenantSuspended, type LaneFailure } from "./failures.ts";
import { createLinks } from "./links.ts";
import { createRates } from "./rates.ts";
import type { AnswerEvents, Broker, BrokerPorts, BrokerRequest, Call, CallRecord } from "./types.ts";

/** types.ts says what it is. `ports.budget` and `ports.limits` must fit together, or this throws. */
export function createBroker(ports: BrokerPorts): Broker {
  const { now, log, grants, settings, limits, budget } = ports;
  const account = createSendAccount(limits, budget.totalBytes);
  const rates = createRates();
  const running = new LinkedList<CallCore>();
  const thirsty = new Set<CallCore>();
  const queued = new Set<CallCore>();
  const links = createLinks({
    ...ports,
    changed() {
      for (const call of queued) call.connectorsChanged();
    },
    flushed() {
      for (const call of thirsty) if (call.refill()) thirsty.delete(call);
    },
  });
  const drain = createDrain({
    links,
    now,
    wallNow: ports.wallNow,
    cut(closing) {
      for (const call of running.all()) call.laneReplaced(closing);
    },
    hold: ports.hold ?? null,
  });
  const candidates = createCandidates(links, ports);

  const callPorts: CallPorts = {
    lane: ports.lane,
    now,
    account,
    running,
    thirsty,
    queued,
    choose: (request, tried) => candidates.choose(request, tried),
    connectorName: (connectorId) => grants.get(connectorId)?.name ?? "",
    ended: (record) => ports.ended?.(record),
  };

  /** Why the request is not even offered to a connector. The rates come last: they count. */
  const refused = (request: BrokerRequest, headBytes: number): LaneFailure | null => {
    const tenant = settings();
    if (tenant.disabled) return finalRefusal("not-available", "The relay of this tenant is switched off.");
    if (tenant.suspended) return tenantSuspended();
    if (drain.state === "draining" || drain.state === "held")
      return refusal("not-available", "This lane of the relay is about to be replaced. Try again in a moment.");
    const { bodyBytes, concurrentRequests } = tenant.limits;
    if (bodyBytes !== null && (request.bodyBytes ?? 0) > bodyBytes) return bodyTooLarge(bodyBytes);
    if (running.size >= limits.inFlightMax || !account.hasReserve(answerReserve(request.body)) || !fits(headBytes))
      return refusal("over-capacity", "Too many requests of this tenant are under way at this lane.");
    if (concurrentRequests !== null && running.size >= concurrentRequests)
      return finalRefusal(
        "rate-limited",
        `This tenant may have ${concurrentRequests} requests under way.`,
        BUSY_RETRY_AFTER_SECONDS,
      );
    const retryAfter = rates.admit(tenant.limits, request.clientAddress, now());
    return retryAfter === null
      ? null
      : finalRefusal("rate-limited", "Too many requests a second. Try again later.", retryAfter);
  };

  const fits = (bytes: number): boolean => {
    if (account.fits(bytes)) return true;
    for (const call of running.all()) call.recharge();
    return account.fits(bytes);
  };

  const limitsOf = ({ timeouts: route }: BrokerRequest): CallLimits => {
    const { timeouts: tenant, waitForConnectorMs, limits: own } = settings();
    const idleMs = route.idleMs ?? tenant.idleMs;
    return {
      firstByteMs: route.firstByteMs ?? tenant.firstByteMs ?? limits.firstByteMs,
      idleMs: idleMs ?? limits.idleMs,
      // Pings of a WebSocket end at its ends, so a limit for answers would cut sockets that are well.
      idleSocketMs: Math.max(idleMs ?? 0, limits.idleSocketMs),
      totalMs: route.totalMs ?? tenant.totalMs,
      stalledMs: STALLED_MS,
      waitForConnectorMs,
      bodyBytes: own.bodyBytes,
    };
  };

  const refuse = (request: BrokerRequest, answer: AnswerEvents, failure: LaneFailure): Call => {
    answer.failed(failure);
    const { requestId, target, method } = request;
    const record: CallRecord = {
      requestId,
      target,
      method,
      status: null,
      code: failure.code,
      connectorId: null,
      instanceId: null,
      durationMs: 0,
      bytesUp: 0,
      bytesDown: 0,
    };
    ports.ended?.(record);
    request.watch?.ended(record);
    return REFUSED;
  };

  return {
    grantChanged: ({ connectorId }) => links.reviewed(connectorId),
    grantRemoved: (connectorId) => links.reviewed(connectorId),
    settingsChanged({ suspended }) {
      links.reviewed(null);
      if (suspended) for (const call of running.all()) call.tenantSuspended();
    },
    kick(connectorId, instanceId, reason) {
      let ended = 0;
      for (const link of links.all()) {
        if (link.connectorId !== connectorId || (instanceId !== null && link.instanceId !== instanceId)) continue;
        links.close(link, CLOSE.goneAway, reason);
        ended += 1;
      }
      return ended;
    },

    hasRoomFor(connectorId) {
      if (links.size >= limits.socketsMax) return "full";
      const { connectors } = settings().limits;
      if (connectors === null) return "room";
      const online = new Set<string>();
      for (const link of links.all()) online.add(link.connectorId);
      return online.has(connectorId) || online.size < connectors ? "room" : "full";
    },
    attach(socket, admitted, restored) {
      const link = links.attach(socket, admitted, restored);
      ports.wake();
      return link;
    },

    request(request, answer) {
      const bytes = headBytes(request.headers);
      const failure = refused(request, bytes);
      if (failure !== null) return refuse(request, answer, failure);
      const call = new CallCore(callPorts, limitsOf(request), request, answer, bytes);
      ports.wake();
      call.next();
      return call;
    },
    accepts: (target) =>
      drain.state === "serving" &&
      !settings().disabled &&
      !settings().suspended &&
      running.size < limits.inFlightMax &&
      candidates.anyFor(target),

    sweep() {
      const nowMs = now();
      for (const call of running.all()) call.sweep(nowMs);
      links.sweep();
      drain.sweep(running.size === 0);
    },
    get busy() {
      return running.size > 0 || drain.state === "settling" || drain.state === "draining" || links.greeting > 0;
    },
    get nextDueMs() {
      return links.nextDueMs;
    },

    drain(graceMs, holdMs = 0) {
      if (drain.state === "serving") log.info("draining", { graceMs, inFlight: running.size });
      drain.begin(graceMs, holdMs);
      ports.wake();
      return drain.progress(running.size);
    },
    serve() {
      if (drain.state !== "serving") log.info("serves again", {});
      drain.serve();
    },
    sessions() {
      const { lane } = ports;
      return [...links.all()].flatMap((link) => {
        const grant = grants.get(link.connectorId);
        if (grant === undefined || link.instanceId === "") return [];
        const { connectorId, instanceId, sinceMs, inFlight, configured } = link;
        const targets = [...link.targets];
        const unhealthy = [...link.unhealthy].filter((target) => link.targets.has(target));
        const software = link.session.peer?.software ?? "";
        return [
          {
            connectorId,
            connector: grant.name,
            instanceId,
            lane,
            sinceMs,
            targets,
            unhealthy,
            software,
            inFlight,
            configured,
          },
        ];
      });
    },
    get inFlight() {
      return running.size;
    },
    get accountedBytes() {
      for (const call of running.all()) call.recharge();
      return budget.committedBytes + account.usedBytes + links.bufferedBytes;
    },
  };
}

/** Also of those that a single request is made of: its method, path and the like are bounded by the same limits as a field. */
function headBytes(headers: HeaderList): number {
  let bytes = 0;
  for (const [name, value] of headers) bytes += name.length + value.length;
  return bytes;
}

const nothing = (): void => undefined;
const REFUSED: Call = {
  closed: true,
  writable: 0,
  heldBytes: 0,
  write: () => 0,
  end: nothing,
  sendMessage: () => 0,
  sendMessageClose: nothing,
  consumed: nothing,
  cancel: nothing,
};
