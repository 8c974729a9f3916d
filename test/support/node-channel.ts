import { createHash } from "node:crypto";
import { createTestHarness } from "wrangler";
import type { NodeChannelRpc, NodeGrant } from "../../src/protocol/node-channel.ts";
import type { PublicJwk } from "../../src/protocol/jwk.ts";
import { startTcpGate, type TcpGate } from "./tcp-gate.ts";

/** The relay's control Worker on a real workerd, behind a gate that can be shut. */
export interface ChannelHost {
  /** As agents know it. */
  readonly relayUrl: string;
  readonly gate: TcpGate;
  channel(nodeId: string): NodeChannelRpc;
  /** Makes the node known and answers its one-time enrolment token. */
  newNode(nodeId: string, node: string): Promise<string>;
  close(): Promise<void>;
}

interface Env {
  readonly NODE_CHANNEL: { getByName(name: string): NodeChannelRpc };
}

export async function startChannelHost(proofKeys: readonly PublicJwk[]): Promise<ChannelHost> {
  // Wrangler's harness writes a trace of every event to a disk of its own, in the Workers' thread.
  process.env["X_LOCAL_OBSERVABILITY"] ??= "false";
  const harness = createTestHarness({
    root: process.cwd(),
    workers: [
      {
        configPath: "src/relay/relay-control.wrangler.toml",
        vars: { PROOF_PUBLIC_KEYS: JSON.stringify({ keys: proofKeys }) },
      },
    ],
  });
  const { url } = await harness.listen();
  const gate = await startTcpGate(Number(new URL(url).port));
  const env = await harness.getWorker<Env>().getEnv();
  const channel = (nodeId: string): NodeChannelRpc => env.NODE_CHANNEL.getByName(nodeId);
  return {
    relayUrl: `http://relay.causeway.localhost:${gate.port}`,
    gate,
    channel,
    async newNode(nodeId, node) {
      const secret = "enrolment-secret";
      const secretHash = createHash("sha256").update(secret).digest("hex");
      const enrolment = { secretHash, expiresAtMs: Date.now() + 60_000 };
      const grant: NodeGrant = { nodeId, node, revision: 1, disabled: false, enrolment };
      await channel(nodeId).putGrant(grant);
      return `${nodeId}.${secret}`;
    },
    async close() {
      await gate.close();
      await harness.close();
    },
  };
}
