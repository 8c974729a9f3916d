import type { Logger } from "../../shared/log.ts";
import { createPlanner, type Planner, type PlannerEffect, type PlannerLimits, type TenantUnit } from "./planner.ts";
import { startXdsServer, type XdsServer } from "./server.ts";

type Told = Exclude<PlannerEffect, { kind: "send" }>;

/**
 * What the node's Envoy is told, whichever process that is: for the time of a hot restart there are two, each with a planner and a socket of
 * its own, and both are told everything. Only the answers of the leading one count.
 */
export interface EnvoyFeed {
  put(unit: TenantUnit, known?: Parameters<Planner["put"]>[1]): void;
  remove(tenantId: string): void;
  /** Opens the socket for the Envoy that leads. What is not put by then, it would be told to drop. */
  open(socketPath: string): Promise<void>;
  /** Whether the leading Envoy is connected, and whether it has all that it needs to open its ports. */
  connected(): boolean;
  ready(): boolean;
  /** Opens a second socket, for an Envoy that is to take over. */
  openCandidate(socketPath: string): Promise<Candidate>;
  close(): Promise<void>;
}

export interface Candidate {
  connected(): boolean;
  /** Whether it has taken all that there is. */
  loaded(): boolean;
  /** What it refused, though the leading one serves it. */
  refusals(): readonly { readonly tenantId: string; readonly reason: string }[];
  /** Lets it open its ports: as a hot restart, it takes over then. */
  openGate(): void;
  /** From now on it leads, and the one before is told nothing more. */
  promote(): Promise<void>;
  close(): Promise<void>;
}

interface Line {
  readonly planner: Planner;
  server: XdsServer | null;
}

/** `onEffect` gets what becomes of tenants, after `put` and `remove` and whenever Envoy has answered. */
export function createEnvoyFeed(limits: PlannerLimits, onEffect: (effect: Told) => void, log: Logger): EnvoyFeed {
  let lead: Line = { planner: createPlanner(limits), server: null };
  let candidate: Line | null = null;
  /** Tenants of which the leading Envoy has not yet said that they are gone. */
  const leaving = new Set<string>();

  const tell = (effect: Told): void => {
    if (effect.kind === "gone") leaving.delete(effect.tenantId);
    onEffect(effect);
  };
  /** Before its server is up there is nothing to carry out. */
  const run = ({ server }: Line, effects: readonly PlannerEffect[]): void => server?.run(effects);

  return {
    put(unit, known) {
      leaving.delete(unit.tenantId);
      run(lead, lead.planner.put(unit, known));
      if (candidate !== null) run(candidate, candidate.planner.put(unit, known));
    },
    remove(tenantId) {
      leaving.add(tenantId);
      run(lead, lead.planner.remove(tenantId));
      if (candidate !== null) run(candidate, candidate.planner.remove(tenantId));
    },
    async open(socketPath) {
      const line = lead;
      line.server = await startXdsServer({ socketPath, planner: line.planner, onEffect: tell, log });
    },
    connected: () => lead.server?.connected() ?? false,
    ready: () => lead.server?.ready() ?? false,
    async openCandidate(socketPath) {
      const planner = createPlanner(limits);
      const line: Line = { planner, server: null };
      const rejected: Extract<Told, { kind: "rejected" }>[] = [];
      const onAnswer = (effect: Told): void => {
        if (lead === line) tell(effect);
        else if (effect.kind === "rejected") rejected.push(effect);
      };
      for (const { unit, good, refused } of lead.planner.wants()) planner.put(unit, { good, refused });
      candidate = line; // Before anything is waited for: what changes from now on, both are told.
      const server = await startXdsServer({ socketPath, planner, onEffect: onAnswer, holdGate: true, log });
      line.server = server;
      const end = async (): Promise<void> => {
        if (candidate === line) candidate = null;
        await server.close();
      };
      return {
        connected: () => server.connected(),
        loaded: () => planner.settled(),
        refusals() {
          const served = new Set(lead.planner.wants().flatMap(({ good }) => (good === null ? [] : [good.hash])));
          return rejected.flatMap(({ unit: { tenantId, hash }, reason }) =>
            served.has(hash) ? [{ tenantId, reason }] : [],
          );
        },
        openGate: () => server.openGate(),
        async promote() {
          const before = lead;
          lead = line;
          candidate = null;
          // Whoever waits for the answer of the one before gets this one's.
          for (const effect of rejected) tell(effect);
          const wants = planner.wants();
          for (const { unit, good } of wants) if (good?.hash === unit.hash) tell({ kind: "accepted", unit });
          const present = new Set(wants.map(({ unit }) => unit.tenantId));
          for (const tenantId of leaving) {
            leaving.delete(tenantId);
            if (!present.has(tenantId)) onEffect({ kind: "gone", tenantId });
          }
          await before.server?.close();
        },
        close: end,
      };
    },
    async close() {
      await Promise.all([lead.server?.close(), candidate?.server?.close()]);
    },
  };
}
