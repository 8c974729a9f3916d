import { DurableObject } from "cloudflare:workers";
import { z } from "zod";
import { publicJwks, type PublicJwks } from "../protocol/jwk.ts";
import {
  enrolRequest,
  fromAgent,
  NODE_CHANNEL_CLOSE,
  nodeChange,
  type EnrolResponse,
  type FromAgent,
  type NodeChange,
  type NodeChannelRpc,
  type NodeGrant,
  type NodeTenant,
  type NodeTenantStatus,
  type ToAgent,
} from "../protocol/node-channel.ts";
import type { RelayEvent } from "../protocol/queue-messages.ts";
import { systemClock } from "../shared/clock.ts";
import { newId } from "../shared/ids.ts";
import { createLogger, type Logger } from "../shared/log.ts";
import { problem, problemResponse, type ErrorCode } from "../shared/problem.ts";
import { sameText, sha256Hex, verifyNodeAssertion } from "./node-channel-admission.ts";
import { answerClose } from "./durable/sockets.ts";
import { AGENT_MESSAGE_CHARS, SNAPSHOT_PART_CHARS, WAIT_MAX_MS } from "./limits.ts";
import { isWritten, nodeGrant, openNodeChannelStore, type NodeChannelStore } from "./node-channel-store.ts";

export interface NodeChannelEnv {
  readonly EVENTS: Queue<RelayEvent>;
  /** JWKS text: the edge's proof keys, all that a proof may be signed with now. */
  readonly PROOF_PUBLIC_KEYS: string;
}

/** Set by our Worker on the way to the object: the origin that the agent dialled, which its assertion must be for. */
export const AUDIENCE_HEADER = "causeway-node-audience";

/** Survives hibernation with the socket. */
const attachment = z.object({
  sinceMs: z.number(),
  /** Whether the agent has said hello; before, it gets no changes. */
  following: z.boolean(),
  /** Of the proof keys that it was told. */
  keys: z.string(),
});
type Attachment = z.infer<typeof attachment>;

interface Waiter {
  readonly revision: number;
  readonly settle: () => void;
}

/**
 * The channel of one node (the object's name is the node's id): what the node has to hold, in order, and what its agent said about it.
 * Everything is checked against its own storage, so agents connect and reconnect while the control plane is away.
 */
export class NodeChannel extends DurableObject<NodeChannelEnv> implements NodeChannelRpc {
  #store: NodeChannelStore | null = null;
  readonly #log: Logger;
  readonly #waiters = new Map<string, Set<Waiter>>();

  constructor(state: DurableObjectState, env: NodeChannelEnv) {
    super(state, env);
    this.#log = createLogger("node-channel", (line) => console.log(line), { fields: { node: state.id.name ?? null } });
    if (isWritten(state.storage.sql)) this.#store = openNodeChannelStore(state.storage.sql, systemClock);
    // A new version of this Worker may bring new keys to agents that stayed connected.
    for (const socket of this.#sockets()) this.#tellKeys(socket);
  }

  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/node/enroll") return await this.#enrol(request);
    if (pathname === "/node") return await this.#admit(request);
    return refusal("not-found", "A node channel answers node agents only.");
  }

  // ---- control

  async putGrant(input: NodeGrant): Promise<{ applied: boolean; revision: number }> {
    const grant = nodeGrant.parse(input);
    const { name } = this.ctx.id;
    if (name !== undefined && name !== grant.nodeId) throw new Error("the grant is of another node");
    const result = this.#opened().putGrant(grant);
    if (result.applied && grant.disabled) this.#end(NODE_CHANNEL_CLOSE.refused, "the node is disabled");
    return result;
  }

  async push(input: NodeChange): Promise<{ applied: boolean; revision: number }> {
    const change = nodeChange.parse(input);
    const { applied, revision, seq } = this.#opened().push(change);
    if (seq !== null) {
      for (const socket of this.#sockets()) if (read(socket).following) send(socket, { type: "change", seq, change });
      this.#wake(change.kind === "put" ? change.tenant.tenantId : change.tenantId);
    }
    return { applied, revision };
  }

  async status(tenantId: string): Promise<NodeTenantStatus | null> {
    const found = this.#store?.status(tenantId) ?? null;
    if (found === null) return null;
    const { revision, state, reason } = found;
    return { tenantId, revision, state, reason };
  }

  async waitSettled(tenantId: string, revision: number, timeoutMs: number): Promise<NodeTenantStatus | null> {
    const settled = (): boolean => {
      const found = this.#store?.status(tenantId) ?? null;
      if (found === null) return true;
      return !found.removing && found.revision >= revision && (found.state === "live" || found.state === "rejected");
    };
    if (!settled()) {
      await new Promise<void>((resolve) => {
        const waiters = this.#waiters.get(tenantId) ?? new Set();
        this.#waiters.set(tenantId, waiters);
        const done = (): void => {
          clearTimeout(timer);
          waiters.delete(waiter);
          if (waiters.size === 0) this.#waiters.delete(tenantId);
          resolve();
        };
        const timer = setTimeout(done, Math.min(Math.max(timeoutMs, 0), WAIT_MAX_MS));
        const waiter: Waiter = { revision, settle: () => settled() && done() };
        waiters.add(waiter);
      });
    }
    return await this.status(tenantId);
  }

  async presence(): Promise<{ online: boolean; sinceMs: number | null; enrolled: boolean }> {
    const following = this.#sockets()
      .map(read)
      .find((one) => one.following);
    const enrolled = (this.#store?.keys().length ?? 0) > 0;
    return { online: following !== undefined, sinceMs: following?.sinceMs ?? null, enrolled };
  }

  // ---- agents

  async #enrol(request: Request): Promise<Response> {
    const body = enrolRequest.safeParse(await request.json().catch(() => null));
    if (!body.success) return refusal("bad-request", "An enrolment is { token, key }, the key a public JWK.");
    const { token, key } = body.data;
    const secretHash = await sha256Hex(token.slice(token.indexOf(".") + 1));
    // From here on without waiting, so that two requests with one token can't both pass.
    const store = this.#store;
    const grant = store?.grant() ?? null;
    const refused = refusal("unauthorized", "The enrolment token is not valid, was used already, or has expired.");
    if (store === null || grant === null || grant.disabled) return refused;
    const answer: EnrolResponse = { nodeId: grant.nodeId, node: grant.node };
    const used = store.usedEnrolment();
    if (used !== null && sameText(used, secretHash)) {
      // The answer may have been lost on its way: the same key again is the same enrolment, another key is a second use.
      const known = store.keys().some((one) => JSON.stringify(one) === JSON.stringify(key));
      return known ? Response.json(answer) : refused;
    }
    const { enrolment } = grant;
    if (enrolment === null || !sameText(enrolment.secretHash, secretHash) || enrolment.expiresAtMs <= systemClock()) {
      this.#log.warn("enrolment refused");
      return refused;
    }
    store.enrol(key, secretHash);
    this.#end(NODE_CHANNEL_CLOSE.refused, "the node was enrolled anew");
    this.#announce("node-enrolled");
    this.#log.info("node enrolled", { kid: key.kid });
    return Response.json(answer);
  }

  async #admit(request: Request): Promise<Response> {
    const token = /^bearer (\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
    const store = this.#store;
    const refused = refusal(
      "unauthorized",
      "The assertion does not prove this node. Is it enrolled, and its clock right?",
    );
    const nodeId = store?.grant()?.nodeId;
    if (store === null || nodeId === undefined) return refused;
    const audience = request.headers.get(AUDIENCE_HEADER) ?? "";
    const verified = await verifyNodeAssertion(token, { nodeId, audience, keys: store.keys() }, systemClock());
    if (!verified.ok) {
      this.#log.warn("agent refused", { why: verified.error });
      return refused;
    }
    // Keys and grant may have changed while the signature was checked.
    const { kid, jti, rememberUntilMs } = verified.value;
    if (!store.keys().some((key) => key.kid === kid)) return refused;
    if (store.grant()?.disabled !== false) return refusal("forbidden", "The node is disabled.");
    const use = store.use(jti, rememberUntilMs);
    if (use === "full") return refusal("rate-limited", "This node dials too often.");
    if (use === "used") return refused;
    this.#end(NODE_CHANNEL_CLOSE.replaced, "another agent of this node has connected");
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    write(server, { sinceMs: systemClock(), following: false, keys: "" });
    return new Response(null, { status: 101, webSocket: client });
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    const parsed = typeof message === "string" && message.length <= AGENT_MESSAGE_CHARS ? parseMessage(message) : null;
    const store = this.#store;
    if (parsed === null || store === null) return socket.close(1002, "not of the protocol");
    switch (parsed.type) {
      case "hello":
        // Each costs a snapshot and an event; a node that was taken over must not have more of them than it may dial.
        if (read(socket).following) return socket.close(1002, "not of the protocol");
        return this.#welcome(socket, store, parsed);
      case "report":
        if (store.settle(parsed.tenantId, parsed.revision, parsed.state, parsed.reason)) this.#wake(parsed.tenantId);
        return;
      case "removed":
        if (store.gone(parsed.tenantId, parsed.revision)) this.#wake(parsed.tenantId);
        return;
    }
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#gone(socket);
    answerClose(socket, code);
  }

  override webSocketError(socket: WebSocket): void {
    this.#gone(socket);
  }

  #welcome(socket: WebSocket, store: NodeChannelStore, hello: Extract<FromAgent, { type: "hello" }>): void {
    const grant = store.grant();
    if (grant === null) return socket.close(NODE_CHANNEL_CLOSE.refused, "the node is not known");
    const proofKeys = this.#proofKeys();
    send(socket, { type: "welcome", nodeId: grant.nodeId, node: grant.node, epoch: store.epoch, proofKeys });
    const missed = hello.epoch === store.epoch ? store.changesAfter(hello.cursor) : null;
    if (missed === null) sendSnapshot(socket, store);
    else for (const { seq, change } of missed) send(socket, { type: "change", seq, change });
    write(socket, { ...read(socket), following: true, keys: this.env.PROOF_PUBLIC_KEYS });
    this.#announce("node-online");
    this.#log.info("agent connected", { agent: hello.agent, snapshot: missed === null });
  }

  /** Ends the sockets of agents; their nodes go offline unless something new takes over at once. */
  #end(code: number, reason: string): void {
    for (const socket of this.#sockets()) {
      const { following } = read(socket);
      write(socket, { ...read(socket), following: false });
      socket.close(code, reason);
      if (following && code !== NODE_CHANNEL_CLOSE.replaced) this.#announce("node-offline");
    }
  }

  #gone(socket: WebSocket): void {
    if (!read(socket).following) return;
    write(socket, { ...read(socket), following: false });
    this.#announce("node-offline");
    this.#log.info("agent disconnected");
  }

  #announce(kind: "node-online" | "node-offline" | "node-enrolled"): void {
    const nodeId = this.#store?.grant()?.nodeId;
    if (nodeId === undefined) return;
    // Presence is also asked for directly; a lost event is out of date, not wrong for ever.
    this.ctx.waitUntil(
      this.env.EVENTS.send({ kind, nodeId, atMs: systemClock() }).catch((error: unknown) =>
        this.#log.error("an event could not be sent", { kind, error: String(error) }),
      ),
    );
  }

  #wake(tenantId: string): void {
    for (const waiter of this.#waiters.get(tenantId) ?? []) waiter.settle();
  }

  #tellKeys(socket: WebSocket): void {
    const known = read(socket);
    if (!known.following || known.keys === this.env.PROOF_PUBLIC_KEYS) return;
    send(socket, { type: "proof-keys", proofKeys: this.#proofKeys() });
    write(socket, { ...known, keys: this.env.PROOF_PUBLIC_KEYS });
  }

  #proofKeys(): PublicJwks {
    return publicJwks.parse(JSON.parse(this.env.PROOF_PUBLIC_KEYS));
  }

  #sockets(): WebSocket[] {
    return this.ctx.getWebSockets().filter((socket) => socket.readyState === WebSocket.OPEN);
  }

  #opened(): NodeChannelStore {
    this.#store ??= openNodeChannelStore(this.ctx.storage.sql, systemClock);
    return this.#store;
  }
}

/** Tenants in parts; then what still has to be let go, with revisions, which a snapshot's silence could not tell. */
function sendSnapshot(socket: WebSocket, store: NodeChannelStore): void {
  const seq = store.seq();
  let tenants: NodeTenant[] = [];
  let chars = 0;
  const removals: NodeChange[] = [];
  for (const change of store.current()) {
    if (change.kind === "remove") {
      removals.push(change);
      continue;
    }
    const size = JSON.stringify(change.tenant).length;
    if (tenants.length > 0 && chars + size > SNAPSHOT_PART_CHARS) {
      send(socket, { type: "snapshot", seq, tenants, last: false });
      tenants = [];
      chars = 0;
    }
    tenants.push(change.tenant);
    chars += size;
  }
  send(socket, { type: "snapshot", seq, tenants, last: true });
  for (const change of removals) send(socket, { type: "change", seq, change });
}

const send = (socket: WebSocket, message: ToAgent): void => socket.send(JSON.stringify(message));
const read = (socket: WebSocket): Attachment => attachment.parse(socket.deserializeAttachment());
const write = (socket: WebSocket, value: Attachment): void => socket.serializeAttachment(value);

function parseMessage(text: string): FromAgent | null {
  try {
    const parsed = fromAgent.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

const refusal = (code: ErrorCode, detail: string): Response => problemResponse(problem(code, detail, newId("req")));
