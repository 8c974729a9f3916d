import { WebSocketServer, type WebSocket } from "ws";
import type { Exchange, ExchangeEvents } from "../../http1/types.ts";
import type { Logger } from "../../shared/log.ts";
import { newId } from "../../shared/ids.ts";
import { bearerToken, claimedIdentity } from "../admission/identity.ts";
import type { Admitted, Broker, BrokerPorts, Link, Socket } from "../core/types.ts";
import type { Admissions } from "./admission.ts";
import { createAdmissionGate } from "./admission-gate.ts";
import { handshakeFault } from "./handshake.ts";
import type { LaneName } from "./lane-choice.ts";
import { CONNECTOR_HIGH_WATER_BYTES, RETRY_AFTER_SECONDS, brokerLimits } from "./limits.ts";
import type { Slabs } from "../../shared/slabs.node.ts";
import type { Tenant } from "./tenants.ts";
import { headerOf, refuse, type Visit } from "./visit.ts";

export interface ConnectorPorts {
  readonly lanes: readonly LaneName[];
  readonly tenants: ReadonlyMap<string, Tenant>;
  readonly admissions: Admissions;
  readonly slabs: Slabs;
  /** Bytes came in from a connector. */
  readonly passed: (bytes: number) => void;
  readonly draining: () => boolean;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number;
  readonly log: Logger;
  readonly ended: (exchange: Exchange, visit: Visit) => void;
}

export interface Connectors {
  /** `/connect/a` and `/connect/b`: a connector dials in. */
  dial(exchange: Exchange, visit: Visit, lane: LaneName): ExchangeEvents;
  /** A token that came in band (`Broker`, port `renew`). */
  renew(tenant: Tenant, link: Link, token: string): ReturnType<BrokerPorts["renew"]>;
  /** Cuts all that are left: the process stops. */
  close(): void;
}

const BUSY = { headers: { "retry-after": String(RETRY_AFTER_SECONDS) } };

export function createConnectors(ports: ConnectorPorts): Connectors {
  const gate = createAdmissionGate(ports.monotonic);
  /** By session: under which origin it was dialled, which is what tokens in band are good for. */
  const origins = new Map<string, string>();
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false,
    maxPayload: brokerLimits(0).session.messageBytes,
    skipUTF8Validation: true, // the tunnel has no text messages; the session closes on one
  });

  async function admit(exchange: Exchange, visit: Visit, lane: LaneName): Promise<void> {
    const { headers, host, path } = exchange.request;
    const token = bearerToken(headerOf(headers, "authorization"));
    if (token === null)
      return refuse(exchange, visit, "unauthorized", "A connector shows a signed assertion or a token.");
    const identity = claimedIdentity(token, clientOf(path));
    const tenant = identity?.cluster === null ? ports.tenants.get(identity.slug) : undefined;
    const origin = `${visit.scheme}://${host.toLowerCase()}`;
    const stranger = (why: string): void => {
      ports.log.warn("a connector was refused", { lane, why, tenant: identity?.tenant, requestId: visit.requestId });
      refuse(exchange, visit, "unauthorized", "The credential does not prove a connector of this tenant.");
    };
    if (identity === null || tenant === undefined) return stranger("no such tenant");
    const admitted = await ports.admissions.of(tenant).admit(token, origin, identity.connector);
    if (exchange.closed) return;
    // Nothing may be awaited from here to the socket: what was checked must still be so.
    if (!admitted.ok) {
      const { kind, why } = admitted.error;
      if (kind === "unauthorized") return stranger(why);
      ports.log.warn("a connector was refused", { lane, why, tenant: identity.tenant, requestId: visit.requestId });
      if (kind === "forbidden")
        return refuse(exchange, visit, "forbidden", "This connector is disabled, or its time is over.");
      return refuse(exchange, visit, kind, "Connectors can't come in just now. Try again in a moment.", BUSY);
    }
    const broker = tenant.broker(lane);
    if (ports.draining() || broker === null || ports.tenants.get(tenant.slug) !== tenant)
      return refuse(exchange, visit, "not-available", "This lane of the relay is about to be replaced.", BUSY);
    const { grant, credential } = admitted.value;
    const { connectorId } = grant;
    if (broker.hasRoomFor(connectorId) === "full")
      return refuse(exchange, visit, "over-capacity", "This tenant has too many sockets or connectors here.", BUSY);
    const taken = exchange.takeSocket();
    if (taken === null) return;
    const sessionId = newId("ses");
    server.handleUpgrade(taken.message, taken.socket, taken.head, (socket) => {
      origins.set(sessionId, origin);
      socket.once("close", () => origins.delete(sessionId));
      attach(socket, broker, { sessionId, connectorId, credential }, ports);
    });
  }

  return {
    dial(exchange, visit, lane) {
      const events: ExchangeEvents = {
        closed: (outcome) => outcome.kind === "finished" && ports.ended(exchange, visit),
      };
      if (!ports.lanes.includes(lane)) {
        refuse(exchange, visit, "not-found", `This process serves no lane ${lane}.`);
      } else if (exchange.request.upgrade !== "websocket" || handshakeFault(exchange.request.headers) !== null) {
        refuse(exchange, visit, "bad-request", "Connectors dial in by WebSocket.");
      } else if (ports.draining()) {
        refuse(exchange, visit, "not-available", "This lane of the relay is about to be replaced.", BUSY);
      } else {
        const admitted = (): Promise<void> =>
          admit(exchange, visit, lane).catch((error: unknown) => {
            ports.log.error("admitting a connector failed", { error: String(error), requestId: visit.requestId });
            refuse(exchange, visit, "internal-error", "Something went wrong on our side.");
          });
        const laterSeconds = gate.enter(admitted, () => exchange.closed);
        if (laterSeconds !== null)
          refuse(exchange, visit, "over-capacity", "Too many connectors come in just now.", {
            headers: { "retry-after": String(laterSeconds) },
          });
      }
      return events;
    },
    async renew(tenant, { sessionId, connectorId }, token) {
      const origin = origins.get(sessionId);
      const connector = tenant.grants.get(connectorId)?.name ?? null;
      if (origin === undefined || connector === null) return { ok: false, reason: "the connector is gone" };
      const admitted = await ports.admissions.of(tenant).admit(token, origin, connector);
      if (!admitted.ok) return { ok: false, reason: admitted.error.why };
      const { grant, credential } = admitted.value;
      if (grant.connectorId !== connectorId) return { ok: false, reason: "the token is another connector's" };
      if (credential.expiresAtMs === null) return { ok: false, reason: "what does not run out can't be renewed" };
      return { ok: true, expiresAtMs: credential.expiresAtMs };
    },
    close() {
      for (const socket of server.clients) socket.terminate();
    },
  };
}

/** `?client=`: the client id of a connector whose token, of an outside issuer, knows nothing of tenants. */
function clientOf(path: string): string | null {
  const at = path.indexOf("?");
  return at === -1 ? null : new URLSearchParams(path.slice(at)).get("client");
}

/** A WebSocket as the broker's carrier. What was sent is used again when, and only when, the system has it. */
function attach(
  ws: WebSocket,
  broker: Broker,
  admitted: Admitted,
  { slabs, passed }: Pick<ConnectorPorts, "slabs" | "passed">,
): void {
  let link: Link | null = null;
  let wasFull = false;
  const socket: Socket = {
    send(message) {
      ws.send(message, BINARY, () => {
        slabs.release(message);
        if (!wasFull || ws.bufferedAmount >= CONNECTOR_HIGH_WATER_BYTES) return;
        wasFull = false;
        link?.drained();
      });
      if (ws.bufferedAmount >= CONNECTOR_HIGH_WATER_BYTES) wasFull = true;
    },
    close: (code, reason) => ws.close(code, Buffer.from(reason).subarray(0, 123)),
    get bufferedBytes() {
      return ws.bufferedAmount;
    },
    // A process does not sleep.
    remember: () => undefined,
  };
  ws.on("error", () => undefined); // `close` follows
  ws.on("close", (code, reason) =>
    link?.gone(`closed with ${code}${reason.length === 0 ? "" : ` ${reason.toString()}`}`),
  );
  const attached = broker.attach(socket, admitted);
  link = attached;
  ws.on("message", (data, isBinary) => {
    if (!(data instanceof Buffer)) return;
    attached.received(isBinary ? data : data.toString());
    passed(data.length);
  });
}

const BINARY = { binary: true, compress: false } as const;
