import type {
  HeaderList,
  OpenRefusal,
  ResetReason,
  ResponseHead,
  Session,
  Stream,
} from "../protocol/tunnel/session.ts";
import { createResponseBody, createSignal, type RequestBody } from "./lane-body.ts";
import { responseHeaders } from "./lane-headers.ts";
import { bridgeWebSocket, type VisitorSocket } from "./lane-websocket.ts";
import { overdue } from "./lane-timers.ts";
import { STALLED_MS } from "./limits.ts";

export interface TargetRequest {
  readonly target: string;
  readonly method: string;
  readonly path: string;
  readonly headers: HeaderList;
  readonly body: RequestBody | null;
  readonly webSocket: boolean;
  readonly firstByteMs: number;
  readonly idleMs: number;
  readonly idleSocketMs: number;
}

/** `answered`: the head came, so nothing may be tried again. */
export type Attempt =
  | { readonly kind: "response"; readonly response: Response }
  | { readonly kind: "failed"; readonly reason: ResetReason; readonly text: string; readonly answered: boolean }
  | { readonly kind: "not-opened"; readonly error: OpenRefusal };

/** One request at one connector, for the timers of the lane. */
export interface Exchange {
  /** Ends what waits for too long. */
  sweep(nowMs: number): void;
}

/** Sends the request over the session and answers when the head has come, or when it is clear that none will. `running` holds it until its stream has ended. */
export function exchange(session: Session, request: TargetRequest, running: Set<Exchange>): Promise<Attempt> {
  return new Promise((resolve) => {
    const room = createSignal();
    const answer = createResponseBody(() => stream);
    let head: ResponseHead | null = null;
    let visitor: VisitorSocket | null = null;
    let broken: { reason: ResetReason; text: string } | null = null;
    let timedOut: { reason: ResetReason; text: string } | null = null;
    let answered = false;

    /** It counts as under way until the visitor has taken what came. */
    const settle = (): void => {
      if (stream.closed && stream.heldBytes === 0) running.delete(watched);
    };

    const respond = (final: ResponseHead): void => {
      if (broken !== null && visitor === null) resolve({ kind: "failed", ...broken, answered: true });
      else resolve({ kind: "response", response: toResponse(final) });
      settle();
    };

    const toResponse = ({ status, headers: fields }: ResponseHead): Response => {
      const headers = responseHeaders(fields);
      if (visitor !== null) return new Response(null, { status: 101, headers, webSocket: visitor.client });
      // "manual": an encoded body goes through as the target encoded it.
      const init: ResponseInit = { status, headers, encodeBody: "manual" };
      if (request.method === "HEAD" || status === 204 || status === 205 || status === 304)
        return new Response(null, init);
      const whole = answer.whole();
      if (whole !== null) {
        // The edge watches answers of unknown length to the end, through a pipe that costs a fifth of a small request's CPU.
        if (!headers.has("content-length")) headers.set("content-length", String(whole.length));
        return new Response(whole, init);
      }
      return new Response(answer.stream(declaredLength(headers)), init);
    };

    const opened = session.open(
      {
        target: request.target,
        method: request.method,
        path: request.path,
        headers: request.headers,
        end: request.body === null && !request.webSocket,
        upgrade: request.webSocket ? "websocket" : null,
        deadlineMs: request.firstByteMs,
        urgency: 3,
      },
      {
        head(next) {
          if (next.status < 200 && next.status !== 101) return; // a Worker can't pass interim heads on
          head = next;
          if (next.status === 101) visitor = bridgeWebSocket(stream);
          // A microtask later the rest of this message has been read: a small answer is here as a whole then.
          queueMicrotask(() => respond(next));
        },
        data: (bytes) => answer.push(bytes),
        end() {
          answered = true;
          answer.end();
        },
        message: (message) => visitor?.events.message?.(message),
        messageClose: (code, reason) => visitor?.events.messageClose?.(code, reason),
        writable: () => room.raise(),
        closed(outcome) {
          settle();
          room.raise();
          if (head !== null) request.body?.cancel(); // else another connector may get it
          visitor?.events.closed?.(outcome);
          if (outcome.kind === "finished") return;
          broken = timedOut ?? { reason: outcome.reason, text: outcome.text };
          answer.fail(`${broken.reason}: ${broken.text}`);
          if (head === null) resolve({ kind: "failed", ...broken, answered: false });
        },
      },
    );
    if (!opened.ok) return resolve({ kind: "not-opened", error: opened.error });
    const stream: Stream = opened.stream;

    const watched: Exchange = {
      sweep(nowMs) {
        settle();
        const phase = head === null ? "waiting" : visitor !== null ? "socket" : answered ? "answered" : "answering";
        const { lastProgressMs, heldBytes, closed: streamOver } = stream;
        const times = { phase, quietMs: nowMs - lastProgressMs, heldBytes, streamOver } as const;
        switch (overdue(times, { ...request, stalledMs: STALLED_MS })) {
          case "unwanted-upload":
            return stream.reset("cancelled", "answered");
          case "idle":
            return stream.reset(
              "stalled",
              `nothing moved for ${seconds(phase === "socket" ? request.idleSocketMs : request.idleMs)}`,
            );
          case "stalled":
            stream.reset("stalled", "the visitor takes nothing");
            return answer.fail("stalled"); // the stream may have been over already
          case "first-byte": {
            const sent = request.body === null || request.body.complete;
            const limit = `limit ${seconds(request.firstByteMs)}`;
            timedOut = sent
              ? { reason: "target-timeout", text: limit }
              : { reason: "deadline-exceeded", text: `the request's body stopped coming, ${limit}` };
            return stream.reset("deadline-exceeded", limit);
          }
          case null:
        }
      },
    };
    running.add(watched);
    if (request.body !== null) void request.body.feed(stream, room);
  });
}

const seconds = (ms: number): string => `${ms / 1_000} s`;

/** Only a plain number: a target may say anything. */
function declaredLength(headers: Headers): number | null {
  const text = headers.get("content-length");
  return text !== null && /^[0-9]{1,15}$/.test(text) ? Number(text) : null;
}
