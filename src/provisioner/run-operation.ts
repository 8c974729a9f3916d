import { sqlState } from "../db/client.ts";
import { openOperation } from "../db/operations.ts";
import { newSecret } from "../db/secrets.ts";
import { publishAll, publicationOf } from "./directory.ts";
import { decide } from "./machine.ts";
import type { StepOutcome } from "./machine.ts";
import { stepByName } from "./plan.ts";
import type { ProvisionerPorts } from "./ports.ts";
import type { Step } from "./step.ts";
import { beginStep, claimOperation, failRun, fenced, LeaseLost, pause, succeed } from "./store.ts";
import type { Run } from "./store.ts";

/** An early message is sent again only when its time is near; later than that, the message of the pause itself is on its way. */
const NEAR_MS = 5_000;

/**
 * Takes an operation as far as it gets: claims it, runs its steps one after another (each committed by itself), and ends it, or gives it back
 * with a message for later. Whatever is told twice, late or out of order finds the row as it is and does no harm.
 */
export async function runOperation(ports: ProvisionerPorts, operationId: string): Promise<void> {
  const now = () => new Date(ports.clock());
  const claim = await claimOperation(ports.db, operationId, newSecret(), now());
  if (claim.kind === "early" && claim.afterMs <= NEAR_MS) await sendLater(ports, operationId, claim.afterMs);
  if (claim.kind !== "claimed") return;
  const { run } = claim;
  try {
    await carryOn(ports, run, now);
  } catch (error) {
    if (!(error instanceof LeaseLost)) throw error;
    ports.log.warn("overtaken by another run", { operationId });
  }
}

async function carryOn(ports: ProvisionerPorts, run: Run, now: () => Date): Promise<void> {
  const { operation } = run;
  const log = ports.log.with({ operationId: operation.id, kind: operation.kind, subjectId: operation.subjectId });
  let finished: number | null = null;
  for (const { name, position, state } of run.steps) {
    if (state === "done") continue;
    const begun = await beginStep(ports.db, run, position, now(), finished);
    const outcome = await attempt(ports, run, stepByName(name), begun.startedAt);
    const waitedMs = now().getTime() - begun.startedAt.getTime();
    const decision = decide(outcome, { attempts: begun.attempts, waitedMs }, ports.random());
    switch (decision.kind) {
      case "next":
        finished = position;
        break;
      case "pause":
        log.info("operation paused", { step: name, reason: decision.reason, delayMs: decision.delayMs });
        await pause(ports.db, run, position, decision, now());
        await sendLater(ports, operation.id, decision.delayMs);
        return;
      case "fail":
        log.warn("operation failed", { step: name, reason: decision.reason });
        await showFailure(ports, run);
        await failRun(ports.db, run, position, decision.reason, now());
        await wakeNext(ports, operation.subjectId);
        return;
    }
  }
  await succeed(ports.db, run, finished, now());
  log.info("operation succeeded", { tookMs: now().getTime() - operation.createdAt.getTime() });
  await wakeNext(ports, operation.subjectId);
}

async function attempt(ports: ProvisionerPorts, run: Run, step: Step | null, begunAt: Date): Promise<StepOutcome> {
  if (step === null) return { kind: "error", reason: "this version of the provisioner does not know the step" };
  try {
    return await step({ ports, operation: run.operation, begunAt, commit: (work) => fenced(ports.db, run, work) });
  } catch (error) {
    if (error instanceof LeaseLost) throw error;
    return { kind: "error", reason: describe(error) };
  }
}

/** An error as a reason for people. A failed query's message holds its parameters, which may be secret: only its cause's is shown. */
function describe(error: unknown): string {
  const state = sqlState(error);
  if (state !== null) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return `the database refused (${state}): ${cause instanceof Error ? cause.message : "unknown"}`;
  }
  return error instanceof Error && !error.message.startsWith("Failed query") ? error.message : "unknown error";
}

/** Visitors of a tenant that could not be made learn so (D2). If the directory is away they go on seeing "not ready yet". */
async function showFailure(ports: ProvisionerPorts, run: Run): Promise<void> {
  if (run.operation.kind !== "tenant-create") return;
  try {
    await publishAll(
      ports,
      await fenced(ports.db, run, (tx) => publicationOf(tx, run.operation, "failed", ports.clock())),
    );
  } catch (error) {
    if (error instanceof LeaseLost) throw error;
    ports.log.warn("the directory did not learn of a failure", { operationId: run.operation.id });
  }
}

/** Queue delays are whole seconds; rounded up, so that the message is not early. */
const sendLater = (ports: ProvisionerPorts, operationId: string, delayMs: number): Promise<void> =>
  ports.send({ kind: "operation", operationId }, Math.max(1, Math.ceil(delayMs / 1000)));

async function wakeNext(ports: ProvisionerPorts, subjectId: string): Promise<void> {
  const next = await openOperation(ports.db, subjectId);
  if (next !== null) await ports.send({ kind: "operation", operationId: next.id }, 0);
}
