import { connectorGrant, tenantSettings, type ConnectorGrant } from "../../../src/protocol/lane.ts";
import {
  Refused,
  type Answer,
  type GrantChange,
  type Granted,
  type RelayHost,
  type SettingsChange,
  type Visit,
} from "../../behaviour/relay/host.ts";
import { createPeer, type Transport } from "../../behaviour/relay/peer.ts";
import { dial, grantConnector, laneStub, visit, type ConnectorKey } from "./peer.ts";

interface ObjectGrant extends Granted {
  grant: ConnectorGrant;
  readonly key: ConnectorKey;
  readonly identity: string;
}

let settingsRevision = 0;

/** The lane as a Durable Object: requests and upgrades by `fetch`, rights by RPC. The tenant is the directory's `globex`. */
export async function startObjectHost(): Promise<RelayHost> {
  const tenantId = "ten_globex";
  const lane = laneStub(tenantId);
  const granted = new Map<string, ObjectGrant>();
  const of = ({ name }: Granted): ObjectGrant => {
    const found = granted.get(name);
    if (found === undefined) throw new Error(`no grant ${name}`);
    return found;
  };
  return {
    async grant(change: GrantChange = {}) {
      const made = await grantConnector(tenantId, "globex", change);
      granted.set(made.grant.name, { ...made, name: made.grant.name });
      return { name: made.grant.name };
    },
    async change(which, change) {
      const own = of(which);
      own.grant = connectorGrant.parse({ ...own.grant, ...change, revision: own.grant.revision + 1 });
      await lane.putConnector(own.grant);
    },
    async remove(which) {
      const { grant } = of(which);
      await lane.removeConnector(grant.connectorId, grant.revision + 1);
    },
    async settings(change: SettingsChange) {
      settingsRevision += 1;
      await lane.putSettings(
        tenantSettings.parse({ tenantId, tenant: "globex", revision: settingsRevision, ...change }),
      );
    },
    async connect(which, options) {
      const { key, identity } = of(which);
      const response = await dial(await key.sign({ identity }));
      const socket = response.webSocket;
      if (socket === null) {
        const code = response.headers.get("causeway-error") ?? "";
        await response.body?.cancel();
        throw new Refused(response.status, code);
      }
      return await createPeer(transportOf(socket), options);
    },
    request: async (wanted) => answerOf(await send(wanted)),
    async socket(wanted, protocols = []) {
      const headers = [...(wanted.headers ?? []), ["upgrade", "websocket"] as const];
      if (protocols.length > 0) headers.push(["sec-websocket-protocol", protocols.join(", ")]);
      const response = await send({ ...wanted, headers });
      const socket = response.webSocket;
      if (socket === null) {
        await response.body?.cancel();
        throw new Refused(response.status, response.headers.get("causeway-error") ?? "");
      }
      const got: (string | number)[] = [];
      const closed = Promise.withResolvers<{ code: number; reason: string }>();
      socket.accept({ allowHalfOpen: true });
      socket.binaryType = "arraybuffer";
      socket.addEventListener("message", ({ data }) => {
        got.push(typeof data === "string" ? data : new Uint8Array(data).length);
      });
      socket.addEventListener("close", ({ code, reason }) => closed.resolve({ code, reason }));
      return {
        protocol: response.headers.get("sec-websocket-protocol") ?? "",
        got,
        closed: closed.promise,
        send: (message) => socket.send(message),
        close: (code, reason) => socket.close(code, reason),
      };
    },
    async drain(graceMs) {
      await lane.drain(graceMs);
    },
    async stop() {
      // The runtime of the tests ends with all its objects.
    },
  };

  function send(wanted: Visit): Promise<Response> {
    const { target = "web", method = "GET", path = "/", headers = [], body } = wanted;
    const all = new Headers(headers.map(([name, value]) => [name, value]));
    const init = { method, headers: all, target };
    if (body === undefined) return visit(tenantId, path, init);
    return visit(tenantId, path, { ...init, body: body instanceof Uint8Array ? body : streamOf(body) });
  }
}

function streamOf(parts: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = parts[Symbol.asyncIterator]();
  return new ReadableStream({
    type: "bytes",
    async pull(controller) {
      const { value, done } = await iterator.next();
      if (done === true) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
  });
}

function answerOf(response: Response): Answer {
  const reader = response.body?.getReader();
  return {
    status: response.status,
    header: (name) => response.headers.get(name),
    setCookies: () => response.headers.getSetCookie(),
    async read() {
      if (reader === undefined) return null;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return null;
        if (value instanceof Uint8Array && value.length > 0) return value;
      }
    },
    async cancel() {
      await reader?.cancel();
    },
  };
}

function transportOf(socket: WebSocket): Transport {
  socket.binaryType = "arraybuffer";
  return {
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(message);
    },
    close: (code, reason) => socket.close(code, reason),
    cut: () => socket.close(),
    listen({ message, closed }) {
      socket.addEventListener("message", ({ data }) => {
        if (data instanceof ArrayBuffer) message(new Uint8Array(data));
      });
      socket.addEventListener("close", ({ code, reason }) => closed(code, reason));
      socket.accept();
    },
  };
}
