import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { LIMITS } from "../limits.ts";
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
    await sleep(LIMITS.probeRetryMs * Math.min(attempt + 1, 10), undefined, { signal }).catch(() => undefined);
  }
  return false;
}

/** Body of the probe's answer, or null. Every probe has its own connection, so that repeated ones meet different workers. */
const probe = (socketPath: string, host: string): Promise<string | null> =>
  new Promise((resolve) => {
    const headers = { host: "probe", [SCOPE_HEADER]: host, [PROBE_HEADER]: "1" };
    const asked = request(
      { socketPath, path: "/", headers, timeout: LIMITS.probeTimeoutMs, agent: false },
      (response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => (body += part));
        response.on("end", () => resolve(response.statusCode === 200 ? body : null));
        response.on("error", () => resolve(null));
      },
    );
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(null));
    asked.end();
  });
