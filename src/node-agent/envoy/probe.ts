import { setTimeout as sleep } from "node:timers/promises";
import { LIMITS } from "../limits.ts";
import { getText } from "./get-text.ts";
import { PROBE_HEADER, SCOPE_HEADER } from "./names.ts";

/** Asks Envoy, through the routing that visitors' requests take, until the host answers with `expected`. False when it never did, or on abort. */
export async function probeUntil(
  socketPath: string,
  host: string,
  expected: string,
  signal: AbortSignal,
): Promise<boolean> {
  for (let attempt = 0; attempt < LIMITS.probeTries && !signal.aborted; attempt++) {
    if ((await probe(socketPath, host)) === expected) return true;
    await sleep(Math.min(LIMITS.probeRetryMs * (attempt + 1), LIMITS.probeRetryMaxMs), undefined, { signal }).catch(
      () => undefined,
    );
  }
  return false;
}

const probe = (socketPath: string, host: string): Promise<string | null> =>
  getText({ socketPath, path: "/", headers: { host: "probe", [SCOPE_HEADER]: host, [PROBE_HEADER]: "1" } });
