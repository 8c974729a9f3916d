import { findOperation } from "./operation-view.ts";
import { EVENTS_HEARTBEAT_MS, EVENTS_MAX_MS, EVENTS_POLL_MS } from "./limits.ts";
import type { ConsolePorts } from "./ports.ts";
import type { OperationView } from "./views.ts";

const isFinal = ({ state }: OperationView): boolean => state === "succeeded" || state === "failed";

/**
 * Progress of an operation as server-sent events (WHATWG HTML, 9.2): `event: operation` with the whole operation whenever it changed, comments
 * as heartbeats, the end of the stream at a final state. Polls, because Hyperdrive knows no LISTEN. Ends when the reader goes away.
 */
export function operationEvents(ports: ConsolePorts, first: OperationView): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const startedMs = ports.clock();
  let sentMs = startedMs;
  let shown = "";
  let next: OperationView | null = first;
  const reader = new AbortController();
  return new ReadableStream({
    cancel() {
      reader.abort();
    },
    async pull(controller) {
      while (!reader.signal.aborted) {
        if (next === null) return controller.close();
        const text = JSON.stringify(next);
        if (text !== shown) {
          shown = text;
          sentMs = ports.clock();
          controller.enqueue(encoder.encode(`event: operation\ndata: ${text}\n\n`));
          if (isFinal(next)) controller.close();
          return;
        }
        if (ports.clock() - startedMs > EVENTS_MAX_MS) return controller.close();
        if (ports.clock() - sentMs >= EVENTS_HEARTBEAT_MS) {
          sentMs = ports.clock();
          controller.enqueue(encoder.encode(": still there\n\n"));
          return;
        }
        await ports.sleep(EVENTS_POLL_MS);
        next = await findOperation(ports.db, first.id);
      }
    },
  });
}
