import { env, exports } from "cloudflare:workers";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { ConnectorGrant } from "../../../src/protocol/lane.ts";
import { encodeVisit, type LaneVisit } from "../../../src/protocol/visit.ts";
import { publicJwk, type PublicJwk } from "../../../src/protocol/jwk.ts";
import { createSession } from "../../../src/protocol/tunnel/session.ts";
import type {
  GoAway,
  OpenRequest,
  SendLimits,
  Session,
  SessionLimits,
  Stream,
  StreamEvents,
} from "../../../src/protocol/tunnel/session.ts";

export const RELAY = "http://relay.causeway.localhost";

export interface ConnectorKey {
  readonly jwk: PublicJwk;
  readonly sign: (claims: Claims) => Promise<string>;
}

export interface Claims {
  readonly identity: string;
  readonly audience?: string;
  readonly issuedAt?: number;
  readonly lifetimeSeconds?: number;
  readonly jti?: string;
  readonly kid?: string;
}

export async function makeKey(kid: string, alg: "EdDSA" | "ES256" = "EdDSA"): Promise<ConnectorKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const exported = await exportJWK(publicKey);
  const { kty, crv, x, y } = exported;
  return {
    jwk: publicJwk.parse(alg === "EdDSA" ? { kty, crv, x, kid } : { kty, crv, x, y, kid }),
    sign: ({
      identity,
      audience = RELAY,
      issuedAt = Math.floor(Date.now() / 1_000),
      lifetimeSeconds = 60,
      jti = crypto.randomUUID(),
      ...rest
    }) =>
      new SignJWT({ jti })
        .setProtectedHeader({ alg, kid: rest.kid ?? kid })
        .setIssuer(identity)
        .setSubject(identity)
        .setAudience(audience)
        .setIssuedAt(issuedAt)
        .setExpirationTime(issuedAt + lifetimeSeconds)
        .sign(privateKey),
  };
}

export const laneStub = (tenantId: string) => env.LANE_OBJECT.getByName(tenantId);

let grants = 0;

/** A connector with a fresh key, known to the tenant's lane. */
export async function grantConnector(
  tenantId: string,
  tenant: string,
  change: Partial<ConnectorGrant> = {},
): Promise<{ grant: ConnectorGrant; key: ConnectorKey; identity: string }> {
  grants += 1;
  const key = await makeKey(`key-${grants}`);
  const grant: ConnectorGrant = {
    tenantId,
    tenant,
    connectorId: `con_${grants}`,
    name: `plant-${grants}`,
    revision: 1,
    disabled: false,
    keys: [key.jwk],
    secrets: [],
    issuerSubject: null,
    targets: null,
    readOnly: false,
    expiresAtMs: null,
    config: null,
    ...change,
  };
  await laneStub(tenantId).putConnector(grant);
  return { grant, key, identity: `${tenant}/${grant.name}` };
}

export const dial = (token: string | null, path = "/connect/a"): Promise<Response> =>
  exports.default.fetch(
    new Request(`${RELAY}${path}`, {
      headers: { upgrade: "websocket", ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
    }),
  );

const LIMITS: SessionLimits = {
  messageBytes: 1024 * 1024,
  streamWindowBytes: 256 * 1024,
  sessionWindowBytes: 4 * 1024 * 1024,
  streams: 100,
  wsMessageBytes: 8 * 1024 * 1024,
};
const SEND: SendLimits = {
  messageBytes: 64 * 1024,
  contendedFrameBytes: 16 * 1024,
  aloneFrameBytes: 64 * 1024,
  streamQueueBytes: 128 * 1024,
};

/** A connector in the test's own hands: the same session core over a real socket, and a handler in place of targets. */
export interface Peer {
  readonly session: Session;
  readonly socket: WebSocket;
  readonly requests: OpenRequest[];
  readonly notices: string[];
  readonly goAways: GoAway[];
  /** Of tokens that were taken in band, in milliseconds. */
  readonly lifetimes: number[];
  readonly closed: Promise<{ code: number; reason: string }>;
  onOpen: (stream: Stream, request: OpenRequest) => StreamEvents;
}

export async function connect(
  connector: { key: ConnectorKey; identity: string } | { token: string },
  options: { instanceId?: string; targets?: string[]; limits?: Partial<SessionLimits>; onOpen?: Peer["onOpen"] } = {},
): Promise<Peer> {
  const token = "token" in connector ? connector.token : await connector.key.sign({ identity: connector.identity });
  const response = await dial(token);
  const socket = response.webSocket;
  if (socket === null) throw new Error(`refused: ${response.status} ${await response.text()}`);
  socket.accept();
  socket.binaryType = "arraybuffer";
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  socket.addEventListener("close", ({ code, reason }) => {
    session.lost("socket closed");
    closed.resolve({ code, reason });
  });
  const flush = (): void => {
    if (socket.readyState !== WebSocket.OPEN) return;
    for (let message = session.takeMessage(); message !== null; message = session.takeMessage()) socket.send(message);
  };
  const greeted = Promise.withResolvers<void>();
  const session = createSession({
    role: "connector",
    now: () => Date.now(),
    limits: { ...LIMITS, ...options.limits },
    send: SEND,
    identity: {
      instanceId: options.instanceId ?? crypto.randomUUID(),
      targets: options.targets ?? ["web"],
      sessionId: "",
      software: "test peer",
    },
    events: {
      flushNeeded: () => void setImmediate(flush),
      hello: () => greeted.resolve(),
      open(stream, request) {
        peer.requests.push(request);
        return peer.onOpen(stream, request);
      },
      replaced: (reason) => void peer.notices.push(`replaced: ${reason}`),
      tokenAccepted: (lifetimeMs) => void peer.lifetimes.push(lifetimeMs),
      goAway: (notice) => void peer.goAways.push(notice),
      failed: ({ closeCode, reason }) => {
        peer.notices.push(`failed: ${reason}`);
        socket.close(closeCode, reason);
      },
    },
  });
  const peer: Peer = {
    session,
    socket,
    requests: [],
    notices: [],
    goAways: [],
    lifetimes: [],
    closed: closed.promise,
    onOpen: options.onOpen ?? (() => ({})),
  };
  socket.addEventListener("message", ({ data }) => {
    if (data instanceof ArrayBuffer) session.receive(new Uint8Array(data));
    else peer.notices.push(`text: ${String(data)}`);
  });
  flush();
  await greeted.promise;
  // The lane knows our targets once it has answered something that came after our HELLO.
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (session.rttMs !== null) return resolve();
      session.ping();
      setTimeout(look, 1);
    };
    look();
  });
  return peer;
}

/** A visitor's request as the edge hands it to the lane. */
export function visit(
  tenantId: string,
  path: string,
  init: RequestInit & { target?: string; visit?: Partial<LaneVisit> } = {},
): Promise<Response> {
  const { target = "web", headers, visit: change, ...rest } = init;
  const url = new URL(path, "http://acme.causeway.localhost");
  const all = new Headers(headers);
  const told = encodeVisit({
    requestId: "req_test",
    target,
    prefix: "",
    path: path.startsWith("/") ? url.href.slice(url.origin.length) : path,
    host: url.host,
    scheme: "http",
    clientAddress: null,
    traceparent: "00-00000000000000000000000000000001-0000000000000001-00",
    withoutCookies: false,
    urgency: 3,
    firstByteMs: null,
    idleMs: null,
    totalMs: null,
    trace: false,
    ...change,
  });
  if (told === null) throw new Error("not a visit");
  all.set("causeway-visit", told);
  return laneStub(tenantId).fetch(new Request(url, { ...rest, headers: all }));
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Answers with the text at once. */
export const answering =
  (text: string, status = 200): Peer["onOpen"] =>
  (stream) => {
    stream.respond({ status, headers: [["content-type", "text/plain"]] }, false);
    stream.write(bytesOf(text));
    stream.end();
    stream.stopReceiving();
    return {};
  };

/** Waits until it is so; fails with the text after five seconds. */
export async function until(text: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const start = Date.now();
  while (!(await condition())) {
    if (Date.now() - start > 5_000) throw new Error(`it did not happen: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const events = async (): Promise<Record<string, unknown>[]> =>
  await (await env.SINK.fetch("http://sink/")).json();
