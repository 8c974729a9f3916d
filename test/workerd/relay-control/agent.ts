import { env, exports } from "cloudflare:workers";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { publicJwk, type PublicJwk } from "../../../src/protocol/jwk.ts";
import {
  toAgent,
  type FromAgent,
  type NodeGrant,
  type NodeTenant,
  type ToAgent,
} from "../../../src/protocol/node-channel.ts";
import { newId } from "../../../src/shared/ids.ts";

export const RELAY = "http://relay.causeway.localhost";
export const channelOf = (nodeId: string) => env.NODE_CHANNEL.getByName(nodeId);

export interface AgentKey {
  readonly jwk: PublicJwk;
  readonly sign: (claims: {
    nodeId: string;
    audience?: string;
    issuedAt?: number;
    lifetimeSeconds?: number;
    jti?: string;
  }) => Promise<string>;
}

export async function makeKey(kid: string): Promise<AgentKey> {
  const { publicKey, privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { kty, crv, x } = await exportJWK(publicKey);
  return {
    jwk: publicJwk.parse({ kty, crv, x, kid }),
    sign: ({
      nodeId,
      audience = RELAY,
      issuedAt = Math.floor(Date.now() / 1_000),
      lifetimeSeconds = 60,
      jti = crypto.randomUUID(),
    }) =>
      new SignJWT({ jti })
        .setProtectedHeader({ alg: "EdDSA", kid })
        .setIssuer(nodeId)
        .setSubject(nodeId)
        .setAudience(audience)
        .setIssuedAt(issuedAt)
        .setExpirationTime(issuedAt + lifetimeSeconds)
        .sign(privateKey),
  };
}

export async function hashOf(secret: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const SECRET = "a-secret-of-32-bytes-more-or-less";

/** A node that the control plane knows, with an open enrolment by SECRET. */
export async function newNode(change: Partial<NodeGrant> = {}): Promise<string> {
  const nodeId = newId("nod");
  const enrolment = { secretHash: await hashOf(SECRET), expiresAtMs: Date.now() + 60_000 };
  await channelOf(nodeId).putGrant({
    nodeId,
    node: "walter-white",
    revision: 1,
    disabled: false,
    enrolment,
    ...change,
  });
  return nodeId;
}

export const enrol = (nodeId: string, key: PublicJwk, secret = SECRET): Promise<Response> =>
  exports.default.fetch(
    new Request(`${RELAY}/node/enroll`, {
      method: "POST",
      body: JSON.stringify({ token: `${nodeId}.${secret}`, key }),
    }),
  );

export const dial = (token: string | null): Promise<Response> =>
  exports.default.fetch(
    new Request(`${RELAY}/node`, {
      headers: { upgrade: "websocket", ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
    }),
  );

/** An enrolled node with its key. */
export async function enrolledNode(): Promise<{ nodeId: string; key: AgentKey }> {
  const nodeId = await newNode();
  const key = await makeKey(newId("key"));
  const response = await enrol(nodeId, key.jwk);
  // Read to its end: an object with an answer under way can't be evicted.
  const text = await response.text();
  if (response.status !== 200) throw new Error(text);
  return { nodeId, key };
}

/** An agent in the test's own hands. */
export interface Agent {
  readonly messages: ToAgent[];
  readonly closed: Promise<{ code: number; reason: string }>;
  send(message: FromAgent): void;
  sendText(text: string): void;
  close(): void;
}

export async function connect(
  { nodeId, key }: { nodeId: string; key: AgentKey },
  from: { epoch: string | null; cursor: number } = { epoch: null, cursor: 0 },
): Promise<Agent> {
  const response = await dial(await key.sign({ nodeId }));
  const socket = response.webSocket;
  if (socket === null) throw new Error(`${response.status} ${await response.text()}`);
  const messages: ToAgent[] = [];
  socket.addEventListener("message", ({ data }) => void messages.push(toAgent.parse(JSON.parse(String(data)))));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason }));
  });
  socket.accept();
  const sendText = (text: string): void => socket.send(text);
  const send = (message: FromAgent): void => sendText(JSON.stringify(message));
  send({ type: "hello", version: 1, agent: "test", ...from });
  return { messages, closed, send, sendText, close: () => socket.close(1000, "done") };
}

export async function until<T>(
  what: string,
  check: () => Promise<T | null | undefined | false> | T | null | undefined | false,
): Promise<T> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const found = await check();
    if (found !== null && found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited too long for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const tenant = (tenantId: string, revision: number, change: Partial<NodeTenant> = {}): NodeTenant => ({
  tenantId,
  slug: tenantId.slice(4),
  revision,
  hosts: [`${tenantId.slice(4)}.causeway.localhost`],
  routes: [{ prefix: "/app", service: "app" }],
  services: [
    {
      name: "app",
      workspace: "main",
      driver: { kind: "external", address: "127.0.0.1", port: 1 },
      healthPath: null,
      secrets: {},
    },
  ],
  ...change,
});

/** Changes that an agent got, as `put <tenant> <revision>` and `remove <tenant> <revision>`. */
export const changesOf = (agent: Agent): string[] =>
  agent.messages.flatMap((message) => {
    if (message.type !== "change") return [];
    const { change } = message;
    return [
      change.kind === "put"
        ? `put ${change.tenant.tenantId} ${change.tenant.revision}`
        : `remove ${change.tenantId} ${change.revision}`,
    ];
  });
