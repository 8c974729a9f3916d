import type { Result } from "../shared/result.ts";
import { ok } from "../shared/result.ts";
import { fail } from "./failure.ts";
import type { Failure } from "./failure.ts";
import type { ConsolePorts } from "./ports.ts";

type Lane = ReturnType<ConsolePorts["lanes"]>[number];

/** The same question to both lanes of a tenant. One that does not answer makes the whole unknown. */
export async function askLanes<T>(
  ports: ConsolePorts,
  tenantId: string,
  ask: (lane: Lane) => Promise<T>,
): Promise<Result<T[], Failure>> {
  try {
    return ok(await Promise.all(ports.lanes(tenantId).map(ask)));
  } catch {
    ports.log.warn("a lane did not answer", { tenantId });
    return fail("not-available", "A lane of the relay does not answer right now. Try again shortly.");
  }
}
