import { request as httpRequest, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { WebSocket } from "ws";
import { publicJwk, type PublicJwk } from "../../../src/protocol/jwk.ts";
import {
  Refused,
  type Answer,
  type GrantChange,
  type RelayHost,
  type SettingsChange,
  type Visit,
} from "../../behaviour/relay/host.ts";
import { createPeer, type Transport } from "../../behaviour/relay/peer.ts";
import { until } from "../../support/until.ts";
import { startRelayHost } from "./host.ts";

interface NodeGrant {
  readonly name: string;
  readonly jwk: PublicJwk;
  readonly sign: (audience: string) => Promise<string>;
  change: GrantChange;
}

/** `causeway relay --lane a` as a process: rights and settings are what its file says, everything else goes over sockets. */
export async function startNodeHost(): Promise<RelayHost> {
  const relay = await startRelayHost({ tenants: { acme: {} }, accessLog: false }, { lane: "a" });
  const grants = new Map<string, NodeGrant>();
  let settings: SettingsChange = {};
  let made = 0;

  /** A drained process reads nothing any more, and ends a moment later. */
  const isGone = (): boolean => relay.child.exitCode !== null || relay.child.signalCode !== null;

  /** Writes the file, asks for it to be read, and waits until it was. */
  async function apply(): Promise<void> {
    const reads = (): number => relay.output().split("the configuration was read again").length;
    const before = reads();
    const connectors = Object.fromEntries([...grants.values()].map((grant) => [grant.name, inFile(grant)]));
    relay.write({ tenants: { acme: { connectors, settings } }, accessLog: false });
    relay.child.kill("SIGHUP");
    await until("the file was read", () => reads() > before || isGone());
  }

  return {
    async grant(change = {}) {
      made += 1;
      const name = `plant-${made}`;
      const pair = await generateKeyPair("EdDSA", { extractable: true });
      const { kty, crv, x } = await exportJWK(pair.publicKey);
      const jwk = publicJwk.parse({ kty, crv, x, kid: `key-${made}` });
      const identity = `acme/${name}`;
      const sign = async (audience: string): Promise<string> =>
        await new SignJWT({ jti: crypto.randomUUID() })
          .setProtectedHeader({ alg: "EdDSA", kid: jwk.kid })
          .setIssuer(identity)
          .setSubject(identity)
          .setAudience(audience)
          .setIssuedAt()
          .setExpirationTime("60s")
          .sign(pair.privateKey);
      grants.set(name, { name, jwk, sign, change });
      await apply();
      return { name };
    },
    async change({ name }, change) {
      const grant = of(name);
      grant.change = { ...grant.change, ...change };
      await apply();
    },
    async remove({ name }) {
      grants.delete(name);
      await apply();
    },
    async settings(change) {
      settings = change;
      if (!isGone()) await apply();
    },
    async connect({ name }, options) {
      const known = grants.get(name);
      if (known === undefined) throw new Refused(401, "unauthorized");
      const socket = new WebSocket(`ws://127.0.0.1:${relay.port}/connect/a`, {
        headers: {
          host: `relay.causeway.localhost:${relay.port}`,
          authorization: `Bearer ${await known.sign(relay.url)}`,
        },
        perMessageDeflate: false,
      });
      const transport = transportOf(socket); // listens before the first message can come
      await opened(socket);
      return await createPeer(transport, options);
    },
    request,
    async socket(visit, protocols = []) {
      const { path = "/", headers = [] } = visit;
      const socket = new WebSocket(`ws://127.0.0.1:${relay.port}${path}`, [...protocols], {
        headers: { ...Object.fromEntries(headers), host: hostOf(visit) },
        perMessageDeflate: false,
      });
      const got: (string | number)[] = [];
      const closed = Promise.withResolvers<{ code: number; reason: string }>();
      socket.on("message", (data: Buffer, isBinary) => void got.push(isBinary ? data.length : data.toString()));
      socket.on("close", (code, reason) => closed.resolve({ code, reason: reason.toString() }));
      await opened(socket);
      return {
        protocol: socket.protocol,
        got,
        closed: closed.promise,
        send: (message) => socket.send(message),
        close: (code, reason) => socket.close(code, reason),
      };
    },
    async drain() {
      relay.child.kill("SIGTERM");
    },
    stop: () => relay.stop(),
  };

  function of(name: string): NodeGrant {
    const grant = grants.get(name);
    if (grant === undefined) throw new Error(`no grant ${name}`);
    return grant;
  }

  function hostOf({ target = "web" }: Visit): string {
    return `${target}--acme.causeway.localhost:${relay.port}`;
  }

  function request(visit: Visit): Promise<Answer> {
    const { method = "GET", path = "/", headers = [], body } = visit;
    return new Promise((resolve, reject) => {
      const fields: Record<string, string> = { ...Object.fromEntries(headers), host: hostOf(visit) };
      if (body instanceof Uint8Array) fields["content-length"] = String(body.length);
      const outgoing = httpRequest(
        { host: "127.0.0.1", port: relay.port, method, path, headers: fields, agent: false },
        (response) => resolve(answerOf(response)),
      );
      outgoing.on("error", reject); // after an answer it has no effect
      if (body === undefined || body instanceof Uint8Array) outgoing.end(body);
      else Readable.from(body).pipe(outgoing);
    });
  }
}

/** The file's words for what the control plane would publish. */
function inFile({ jwk, change }: NodeGrant): Record<string, unknown> {
  const { targets, expiresAtMs, config, ...rest } = change;
  return {
    keys: [jwk],
    ...rest,
    ...(targets === undefined || targets === null ? {} : { targets }),
    ...(expiresAtMs === undefined || expiresAtMs === null ? {} : { expiresAt: new Date(expiresAtMs).toISOString() }),
    ...(config === undefined || config === null ? {} : { config: JSON.parse(config.json) }),
  };
}

function answerOf(response: IncomingMessage): Answer {
  const chunks = response[Symbol.asyncIterator]();
  const all = (name: string): string[] =>
    response.rawHeaders.filter((_, i) => i % 2 === 1 && response.rawHeaders[i - 1]?.toLowerCase() === name);
  return {
    status: response.statusCode ?? 0,
    header: (name) => all(name)[0] ?? null,
    setCookies: () => all("set-cookie"),
    async read() {
      const { value, done } = await chunks.next();
      return done === true ? null : new Uint8Array(value);
    },
    async cancel() {
      response.destroy();
    },
  };
}

function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.on("open", resolve);
    socket.on("error", reject);
    socket.on("unexpected-response", (_request, response) => {
      response.resume();
      const code = response.headers["causeway-error"];
      reject(new Refused(response.statusCode ?? 0, typeof code === "string" ? code : ""));
      socket.terminate();
    });
  });
}

function transportOf(socket: WebSocket): Transport {
  const early: Uint8Array[] = [];
  let take = (bytes: Uint8Array): void => void early.push(bytes);
  let end = (_code: number, _reason: string): void => undefined;
  socket.on("message", (data: Buffer) => take(new Uint8Array(data)));
  socket.on("close", (code, reason) => end(code, reason.toString()));
  return {
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(message.slice());
    },
    close: (code, reason) => socket.close(code, reason),
    cut: () => socket.terminate(),
    listen({ message, closed }) {
      take = message;
      end = closed;
      for (const bytes of early) message(bytes);
    },
  };
}
