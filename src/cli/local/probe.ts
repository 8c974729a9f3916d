import { request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { CliError, EXIT } from "../frame/exit.ts";
import { CONDITION_POLL_MS, PROBE_TIMEOUT_MS } from "../limits.ts";

/** Status of a GET with this Host header, or null when nothing answers (fetch can't set Host). */
export function probe(url: string, host: string): Promise<number | null> {
  return new Promise((resolve) => {
    const asked = request(url, { headers: { host, connection: "close" }, timeout: PROBE_TIMEOUT_MS }, (response) => {
      response.resume();
      resolve(response.statusCode ?? null);
    });
    asked.once("timeout", () => asked.destroy());
    asked.once("error", () => resolve(null));
    asked.end();
  });
}

/** Waits for a condition of the running stack. `what` completes "... did not happen in time: ". */
export async function until(
  what: string,
  condition: () => Promise<boolean>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    signal.throwIfAborted();
    if (Date.now() > end) throw new CliError(EXIT.failed, `gave up waiting: ${what}`, "Look at npx causeway logs.");
    await delay(CONDITION_POLL_MS, undefined, { signal });
  }
}
