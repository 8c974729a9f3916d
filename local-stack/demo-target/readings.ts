import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Server-sent events: a made-up temperature. `?count=N` readings (default 10; 0 = until the reader is gone), `?ms=N` apart (default 1000).
 */
export async function sendReadings(url: URL, response: ServerResponse): Promise<void> {
  const count = Number.parseInt(url.searchParams.get("count") ?? "10", 10) || Number.POSITIVE_INFINITY;
  const pauseMs = Math.max(Number.parseInt(url.searchParams.get("ms") ?? "1000", 10) || 0, 1);
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  for (let index = 1; index <= count && !gone.signal.aborted; index++) {
    const data = JSON.stringify({ index, at: Date.now(), celsius: celsiusAt(index) });
    response.write(`id: ${index}\nevent: tick\ndata: ${data}\n\n`);
    if (index < count) await sleep(pauseMs, undefined, { signal: gone.signal }).catch(() => undefined);
  }
  response.end();
}

/** Two slow waves around 70 degrees: looks like a process, needs no state. */
const celsiusAt = (index: number): number =>
  Math.round((70 + 5 * Math.sin(index / 9) + 2.5 * Math.sin(index / 2.3)) * 10) / 10;
