import { forwardedFields, returnedFields } from "../../../src/policy/headers.ts";
import { problemParts } from "../../../src/policy/problem-response.ts";
import { socketClose, type LaneFailure } from "../../../src/relay/core/failures.ts";
import type { Call } from "../../../src/relay/core/types.ts";
import { createMemoryLane, type MemoryConnector } from "../../support/memory-lane.ts";
import {
  Refused,
  type Answer,
  type Granted,
  type Peer,
  type RelayHost,
  type Visit,
  type VisitorSocket,
} from "./host.ts";

const REQUEST_ID = "req_memory";
const FORWARDING = {
  hostWithPort: "acme.example",
  scheme: "https",
  clientAddress: "192.0.2.1",
  requestId: REQUEST_ID,
  traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-00`,
  webSocket: false,
} as const;

interface MemoryGrant extends Granted {
  readonly connectorId: string;
}

/** The broker alone, on a clock that runs with ours: no socket, no server, no platform. */
export async function startMemoryHost(): Promise<RelayHost> {
  const lane = createMemoryLane();
  const grants = new Map<string, MemoryGrant>();
  let lastMs = Date.now();
  const pump = setInterval(() => {
    const elapsedMs = Date.now() - lastMs;
    lastMs += elapsedMs;
    lane.advance(elapsedMs);
  }, 1);
  const grantOf = (granted: Granted) => {
    const found = lane.grants.get(grants.get(granted.name)?.connectorId ?? "");
    if (found === undefined) throw new Refused(401, "unauthorized");
    return found;
  };

  return {
    async grant(change = {}) {
      const { connectorId, name } = lane.grant(change);
      grants.set(name, { connectorId, name });
      return { name };
    },
    async change(granted, change) {
      const grant = grantOf(granted);
      lane.grant({ ...grant, revision: grant.revision + 1, ...change });
    },
    async remove(granted) {
      const { connectorId } = grantOf(granted);
      lane.grants.delete(connectorId);
      lane.broker.grantRemoved(connectorId);
      lane.settle();
    },
    async settings(change) {
      lane.settings({
        disabled: false,
        waitForConnectorMs: 0,
        keepAliveMs: null,
        reconnectMaxMs: null,
        limits: {},
        timeouts: {},
        ...change,
      });
    },
    async connect(granted, options = {}) {
      const grant = grantOf(granted);
      if (grant.disabled) throw new Refused(403, "forbidden");
      const { streamWindowBytes, ...rest } = options;
      return peerOf(
        lane.connect({ grant, ...rest, ...(streamWindowBytes === undefined ? {} : { limits: { streamWindowBytes } }) }),
      );
    },
    request: (visit) => visitBy(visit),
    async socket(visit, protocols = []) {
      const headers = [...(visit.headers ?? [])];
      if (protocols.length > 0) headers.push(["sec-websocket-protocol", protocols.join(", ")]);
      return await socketBy({ ...visit, headers });
    },
    async drain(graceMs) {
      lane.broker.drain(graceMs);
    },
    async stop() {
      clearInterval(pump);
    },
  };

  function start(visit: Visit, isSocket: boolean, events: Parameters<typeof lane.broker.request>[1]): Call {
    const { target = "web", method = "GET", path = "/", headers = [], body } = visit;
    return lane.broker.request(
      {
        requestId: REQUEST_ID,
        target,
        method,
        path,
        headers: forwardedFields([["host", "acme.example"], ...headers], FORWARDING),
        body: isSocket ? "websocket" : body === undefined ? "none" : "stream",
        bodyBytes: body instanceof Uint8Array ? body.length : null,
        urgency: 3,
        timeouts: { firstByteMs: null, idleMs: null, totalMs: null },
        clientAddress: FORWARDING.clientAddress,
      },
      events,
    );
  }

  function visitBy(visit: Visit): Promise<Answer> {
    return new Promise((resolve) => {
      const chunks: Uint8Array[] = [];
      let ended = false;
      let broken: LaneFailure | null = null;
      let wake = (): void => undefined;
      let room = (): void => undefined;
      const call = start(visit, false, {
        head: ({ status, headers }) => resolve(answer(status, returnedFields(headers, { requestId: REQUEST_ID }))),
        data(bytes) {
          chunks.push(bytes.slice());
          wake();
        },
        end() {
          ended = true;
          wake();
        },
        message: () => undefined,
        messageClose: () => undefined,
        writable: () => room(),
        failed(failure) {
          const { retryAfterSeconds: after } = failure;
          const more = after === null ? {} : { "retry-after": String(after) };
          const parts = problemParts(null, failure.code, failure.detail, REQUEST_ID, more);
          chunks.push(new TextEncoder().encode(parts.body));
          ended = true;
          resolve(answer(parts.status, Object.entries(parts.headers)));
        },
        broken(failure) {
          broken = failure;
          wake();
        },
      });
      void feed();

      async function feed(): Promise<void> {
        const { body } = visit;
        if (body === undefined) return;
        for await (const bytes of body instanceof Uint8Array ? [body] : body) {
          call.write(bytes);
          while (!call.closed && call.writable <= 0) await new Promise<void>((go) => (room = go));
          if (call.closed) return;
        }
        call.end();
      }

      function answer(status: number, fields: readonly (readonly [string, string])[]): Answer {
        const all = (name: string) =>
          fields.filter(([field]) => field.toLowerCase() === name).map(([, value]) => value);
        return {
          status,
          header: (name) => all(name)[0] ?? null,
          setCookies: () => all("set-cookie"),
          async read() {
            for (;;) {
              const chunk = chunks.shift();
              if (chunk !== undefined) {
                call.consumed(chunk.length);
                return chunk;
              }
              if (broken !== null) throw new Error(broken.code);
              if (ended) return null;
              await new Promise<void>((go) => (wake = go));
            }
          },
          async cancel() {
            call.cancel("the visitor went away");
          },
        };
      }
    });
  }

  function socketBy(visit: Visit): Promise<VisitorSocket> {
    return new Promise((resolve, reject) => {
      const got: (string | number)[] = [];
      const closed = Promise.withResolvers<{ code: number; reason: string }>();
      const encoder = new TextEncoder();
      const call = start(visit, true, {
        head({ status, headers }) {
          if (status !== 101) return reject(new Refused(status, ""));
          resolve({
            protocol: headers.find(([name]) => name.toLowerCase() === "sec-websocket-protocol")?.[1] ?? "",
            got,
            closed: closed.promise,
            send: (message) =>
              void (typeof message === "string"
                ? call.sendMessage("text", encoder.encode(message))
                : call.sendMessage("binary", message)),
            close: (code, reason) => call.sendMessageClose(code, reason),
          });
        },
        data: (bytes) => call.consumed(bytes.length),
        end: () => undefined,
        message(kind, data, creditBytes) {
          got.push(kind === "text" ? new TextDecoder().decode(data) : data.length);
          call.consumed(creditBytes);
        },
        messageClose: (code, reason) => closed.resolve({ code, reason }),
        writable: () => undefined,
        failed: ({ code }) => reject(new Refused(0, code)),
        broken: (failure) => closed.resolve(socketClose(failure)),
      });
    });
  }
}

function peerOf(connector: MemoryConnector): Peer {
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  const look = setInterval(() => {
    if (connector.closed === null) return;
    clearInterval(look);
    closed.resolve(connector.closed);
  }, 1);
  return {
    session: connector.session,
    requests: connector.requests,
    goAways: connector.goAways,
    pushed: connector.pushed,
    replaced: connector.replacedBy,
    closed: closed.promise,
    get onOpen() {
      return connector.onOpen;
    },
    set onOpen(onOpen) {
      connector.onOpen = onOpen;
    },
    sendRaw: (bytes) => connector.sendRaw(bytes),
    cut: () => connector.cut(),
  };
}
