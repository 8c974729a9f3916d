import { expect } from "vitest";
import { connect, connectSql } from "../../../src/db/client.ts";
import { openOperation, retryOperation } from "../../../src/db/operations.ts";
import { LEASE_MS } from "../../../src/provisioner/limits.ts";
import { stepByName } from "../../../src/provisioner/plan.ts";
import type { ProvisionerPorts } from "../../../src/provisioner/ports.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import type { Step, StepContext } from "../../../src/provisioner/step.ts";
import { beginStep, claimOperation, fenced, LeaseLost, succeed } from "../../../src/provisioner/store.ts";
import type { Run } from "../../../src/provisioner/store.ts";
import { newId } from "../../../src/shared/ids.ts";
import type { NodeBehaviour } from "./fixtures/control.ts";
import { operationOf } from "./support.ts";
import type { World } from "./support.ts";

/** Nobody listens there. */
const NOWHERE = "postgres://nobody:nothing@127.0.0.1:1/none";

/** Something that goes wrong once, at one step of an operation. */
export interface Injection {
  readonly name: string;
  /** Steps that it can hit; default: all. */
  readonly steps?: readonly string[];
  /** With the operation at step `position`, that one not begun yet. Answers the operation that is to be followed from there. */
  inject(w: World, arranged: Arranged, position: number): Promise<string>;
}

/** An operation that is about to run, and what has to be so when it has ended well. */
export interface Arranged {
  readonly operationId: string;
  check(): Promise<void>;
  /** The node that its steps ask. */
  behave(behaviour: NodeBehaviour): Promise<void>;
  /** Of kinds that begin operations of other subjects: the open ones, which the cron finds if their messages are lost. */
  readonly others?: () => Promise<string[]>;
  /** Of kinds that are taken back when they fail: checks that they are, asks for the same once more, and answers that operation. Default: it is tried again. */
  again?(): Promise<string>;
}

/** A run of ours, whose every move is in the test's hand. */
interface Held {
  readonly run: Run;
  readonly step: Step;
  readonly context: StepContext;
}

const now = (w: World) => new Date(w.ports.clock());

/** Claims the operation and does all steps before `position`; that one is begun. */
export async function holdAt(w: World, operationId: string, position: number, ports = w.ports): Promise<Held> {
  const claim = await claimOperation(w.db, operationId, newId("req"), now(w));
  if (claim.kind !== "claimed") throw new Error(`not claimed: ${claim.kind}`);
  const { run } = claim;
  let finished: number | null = null;
  for (const { name, position: at } of run.steps) {
    const step = stepByName(name);
    if (step === null) throw new Error(`no step ${name}`);
    const begun = await beginStep(w.db, run, at, now(w), finished);
    const context: StepContext = {
      ports,
      operation: run.operation,
      begunAt: begun.startedAt,
      commit: (work) => fenced(w.db, run, work),
    };
    if (at === position) return { run, step, context };
    let outcome = await step(context);
    while (outcome.kind === "more") {
      w.advance(outcome.delayMs);
      outcome = await step(context);
    }
    expect(outcome, name).toEqual({ kind: "done" });
    finished = at;
  }
  throw new Error("no such step");
}

const leaseOver = (w: World) => w.advance(LEASE_MS + 1);

/** The run is given up without a trace, as when its process ends between two steps. */
async function upTo(w: World, { operationId }: Arranged, position: number): Promise<string> {
  await holdAt(w, operationId, position);
  leaseOver(w);
  return operationId;
}

/** Delivers messages until the operation has ended, and what came of it for the same subject; time passes between them. */
export async function settle(
  w: World,
  operationId: string,
  ports: ProvisionerPorts = w.ports,
  others: NonNullable<Arranged["others"]> = async () => [],
): Promise<void> {
  for (let round = 0; round < 20; round++) {
    await runOperation(ports, operationId);
    const told = w.sent.splice(0).map(({ message }) => message.operationId);
    for (const id of new Set([...told, ...(await others())])) await runOperation(ports, id);
    const { state, subjectId } = (await operationOf(w, operationId)).operation;
    if ((state === "succeeded" || state === "failed") && (await openOperation(w.db, subjectId)) === null) return;
    w.advance(61_000);
  }
  throw new Error(`it never ended: ${JSON.stringify(await operationOf(w, operationId))}`);
}

/** Whatever a run says that has been overtaken or cut off from its database: it wrote nothing, and others take over. */
async function ofADeadRun(work: Promise<unknown>): Promise<void> {
  await work.catch(() => {});
}

/** A control database that is away from the first, or from the second, transaction of a step on. */
const databaseAway = (transactions: number): Injection => ({
  name: `the control database is away ${transactions === 0 ? "" : "after the step's first commit"}`.trim(),
  async inject(w, { operationId }, position) {
    const { step, context } = await holdAt(w, operationId, position);
    let left = transactions;
    const ports = transactions === 0 ? { ...w.ports, db: connect(NOWHERE, 1).db } : w.ports;
    await ofADeadRun(
      step({
        ...context,
        ports,
        commit: async (work) => {
          if (left-- > 0) return await context.commit(work);
          throw new Error("the control database is away");
        },
      }),
    );
    leaseOver(w);
    return operationId;
  },
});

/** As long as the node is like this the operation waits or fails with a reason; then the node is well again. */
const nodeIs = (name: string, behaviour: NodeBehaviour, expected: RegExp): Injection => ({
  name,
  steps: ["push", "push-next", "settle-node", "remove-from-node"],
  async inject(w, arranged, position) {
    const operationId = await upTo(w, arranged, position);
    await arranged.behave(behaviour);
    await runOperation(w.ports, operationId);
    const { operation } = await operationOf(w, operationId);
    await arranged.behave({ kind: "live" });
    if (operation.state === "succeeded") return operationId;
    expect(operation.reason).toMatch(expected);
    expect(operation.leaseToken).toBeNull();
    w.advance(61_000);
    if (operation.state !== "failed") return operationId;
    await settle(w, operationId);
    if (arranged.again !== undefined) return await arranged.again();
    expect((await w.db.transaction((tx) => retryOperation(tx, operationId, now(w)))).ok).toBe(true);
    return operationId;
  },
});

export const INJECTIONS: readonly Injection[] = [
  { name: "the process dies before the step's effect", inject: upTo },
  {
    name: "the process dies after the step's effect",
    async inject(w, { operationId }, position) {
      const { step, context } = await holdAt(w, operationId, position);
      await step(context);
      leaseOver(w);
      return operationId;
    },
  },
  {
    name: "the process dies right after the step's first commit",
    async inject(w, { operationId }, position) {
      const { step, context } = await holdAt(w, operationId, position);
      await ofADeadRun(
        step({
          ...context,
          commit: async (work) => {
            await context.commit(work);
            throw new Error("the process is dead");
          },
        }),
      );
      leaseOver(w);
      return operationId;
    },
  },
  {
    name: "the message comes again in the middle of the step, and then three times at once",
    async inject(w, { operationId }, position) {
      const { step, context } = await holdAt(w, operationId, position);
      await runOperation(w.ports, operationId);
      await step(context);
      await runOperation(w.ports, operationId);
      leaseOver(w);
      await Promise.all([1, 2, 3].map(() => runOperation(w.ports, operationId)));
      return operationId;
    },
  },
  {
    name: "the run stands still, is overtaken and then wakes up",
    async inject(w, { operationId, others }, position) {
      const { run, step, context } = await holdAt(w, operationId, position);
      let overtaken = false;
      const overtake = async () => {
        if (overtaken) return;
        overtaken = true;
        leaseOver(w);
        await settle(w, operationId, w.ports, others);
      };
      await ofADeadRun(
        step({
          ...context,
          commit: async (work) => {
            const read = await context.commit(work);
            await overtake();
            return read;
          },
        }),
      );
      await overtake();
      await expect(succeed(w.db, run, position, now(w))).rejects.toThrow(LeaseLost);
      return operationId;
    },
  },
  databaseAway(0),
  databaseAway(1),
  {
    name: "the tenants' database is away",
    steps: ["schema", "drop-schema", "new-login", "retire-login", "drop-next-login"],
    async inject(w, arranged, position) {
      const operationId = await upTo(w, arranged, position);
      await runOperation({ ...w.ports, clusterDatabase: () => connectSql(NOWHERE) }, operationId);
      const { operation } = await operationOf(w, operationId);
      if (operation.state !== "succeeded") expect(operation.reason).not.toBeNull();
      w.advance(61_000);
      return operationId;
    },
  },
  nodeIs("the node is away", { kind: "silent", online: false, enrolled: true }, /offline/),
  nodeIs("the node says nothing", { kind: "silent", online: true, enrolled: true }, /not reported/),
  nodeIs("the node rejects", { kind: "rejects", reason: "no such thing" }, /the node rejected .*no such thing/),
];
