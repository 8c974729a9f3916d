import type { OpenRequest, ResponseHead, Stream, StreamEvents } from "../protocol/tunnel/session.ts";
import { AUDIT_BATCH_LINES, AUDIT_FLUSH_MS } from "./limits.ts";

/** Which requests get a line: each, those that failed (status 500 and above, or reset), or none. */
export type AuditLevel = "all" | "errors" | "none";

/** One line a request (H89): target, method, path without its query, status, time, bytes. Never headers, bodies or query values. */
export interface Audit {
  /** Goes between a target and its stream; gives back the events to use. */
  watch(stream: Stream, request: OpenRequest, serve: () => StreamEvents): StreamEvents;
  /** Writes what waits. */
  close(): void;
}

export interface AuditPorts {
  readonly level: AuditLevel;
  /** Takes whole lines, without the last line end. */
  readonly write: (lines: string) => void;
  /** Milliseconds since the epoch. */
  readonly wall: () => number;
  /** Milliseconds of a clock that nobody sets. */
  readonly now: () => number;
}

export function createAudit(ports: AuditPorts): Audit {
  const { level, now } = ports;
  let waiting: string[] = [];
  let timer: NodeJS.Timeout | null = null;

  const flush = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (waiting.length === 0) return;
    const lines = waiting.join("\n");
    waiting = [];
    ports.write(lines);
  };
  let timeMs = 0;
  let time = "";
  /** Put together by hand: JSON.stringify of an object takes several times as long, which counts beside a small request. */
  const put = (request: OpenRequest, rest: string): void => {
    const nowMs = ports.wall();
    if (nowMs !== timeMs) [timeMs, time] = [nowMs, new Date(nowMs).toISOString()];
    const { target, method, path } = request;
    const what = `"target":${JSON.stringify(target)},"method":${JSON.stringify(method)},"path":${JSON.stringify(pathOf(path))}`;
    waiting.push(`{"time":"${time}","level":"info","part":"connector","msg":"request",${what},${rest}}`);
    if (waiting.length >= AUDIT_BATCH_LINES) flush();
    else timer ??= setTimeout(flush, AUDIT_FLUSH_MS);
  };

  return {
    watch(stream, request, serve) {
      if (level === "none") return serve();
      const startMs = now();
      let status = 0;
      let bytesIn = 0;
      let bytesOut = 0;
      // The stream tells nobody what went through it; its own three ways out are the cheapest place to look.
      const respond = stream.respond.bind(stream);
      const write = stream.write.bind(stream);
      const sendMessage = stream.sendMessage.bind(stream);
      stream.respond = (head: ResponseHead, end: boolean) => {
        ({ status } = head);
        respond(head, end);
      };
      stream.write = (bytes) => {
        bytesOut += bytes.length;
        return write(bytes);
      };
      stream.sendMessage = (kind, data) => {
        bytesOut += data.length;
        return sendMessage(kind, data);
      };
      const line = (reset: string | null): void => {
        if (level === "errors" && reset === null && status < 500) return;
        const ms = Math.round(now() - startMs);
        const cut = reset === null ? "" : `,"reset":"${reset}"`;
        put(request, `"status":${status},"ms":${ms},"bytesIn":${bytesIn},"bytesOut":${bytesOut}${cut}`);
      };
      const events = serve();
      const data = events.data?.bind(events);
      const message = events.message?.bind(events);
      const closed = events.closed?.bind(events);
      if (data !== undefined) {
        events.data = (bytes) => {
          bytesIn += bytes.length;
          data(bytes);
        };
      }
      if (message !== undefined) {
        events.message = (received) => {
          bytesIn += received.data.length;
          message(received);
        };
      }
      if (stream.closed) {
        line(status === 0 ? "refused" : null);
        return events;
      }
      events.closed = (outcome) => {
        line(outcome.kind === "reset" ? outcome.reason : null);
        closed?.(outcome);
      };
      return events;
    },
    close: flush,
  };
}

function pathOf(path: string): string {
  const query = path.indexOf("?");
  return (query === -1 ? path : path.slice(0, query)).slice(0, 256);
}
