import { createHash } from "node:crypto";
import type {
  HeaderList,
  OpenRequest,
  ResponseHead,
  Session,
  Stream,
  StreamOutcome,
} from "../../../src/protocol/tunnel/session.ts";

export interface ExchangeRequest extends Partial<OpenRequest> {
  readonly target: string;
  /** Whole, or piece by piece as credit allows. */
  readonly body?: Uint8Array | Iterable<Uint8Array>;
  /** False: the answer's bytes are taken and no credit is given for them until `read` is called. */
  readonly reading?: boolean;
}

/** One request over a session, as a visitor's side sees it. */
export interface Exchange {
  readonly stream: Stream;
  readonly interim: readonly ResponseHead[];
  /** Rejects with `reset: <reason>: <text>` when the stream is reset before. */
  readonly head: Promise<ResponseHead>;
  readonly outcome: Promise<StreamOutcome>;
  /** Bytes of the answer that came so far. */
  readonly bytes: number;
  readonly trailers: HeaderList;
  readonly messages: readonly { readonly kind: string; readonly data: Buffer }[];
  readonly closes: readonly { readonly code: number; readonly reason: string }[];
  read(): void;
  /** The whole answer. */
  text(): Promise<string>;
  sha256(): Promise<string>;
}

export const headerOf = (head: ResponseHead, name: string): string | undefined =>
  head.headers.find(([field]) => field.toLowerCase() === name)?.[1];

const KEEP_BYTES = 1024 * 1024;

export function openExchange(session: Session, request: ExchangeRequest): Exchange {
  const { body, reading: readingAtFirst = true, ...rest } = request;
  const hash = createHash("sha256");
  const kept: Buffer[] = [];
  const interim: ResponseHead[] = [];
  const messages: { kind: string; data: Buffer }[] = [];
  const closes: { code: number; reason: string }[] = [];
  const head = Promise.withResolvers<ResponseHead>();
  const outcome = Promise.withResolvers<StreamOutcome>();
  head.promise.catch(() => undefined);
  const pieces = (body instanceof Uint8Array ? [body] : (body ?? []))[Symbol.iterator]();
  let reading = readingAtFirst;
  let owed = 0;
  let bytes = 0;
  let trailers: HeaderList = [];
  let sending = body !== undefined;

  const pour = (): void => {
    while (sending) {
      const next = pieces.next();
      if (next.done === true) {
        sending = false;
        stream?.end();
      } else if ((stream?.write(next.value) ?? 0) <= 0) return;
    }
  };

  let stream: Stream | null = null;
  const opened = session.open(
    {
      method: "GET",
      path: "/",
      headers: [],
      end: body === undefined && rest.upgrade !== "websocket",
      upgrade: null,
      deadlineMs: 0,
      urgency: 3,
      ...rest,
    },
    {
      head: (answer) => {
        if (answer.status < 200 && answer.status !== 101) interim.push(answer);
        else head.resolve(answer);
      },
      data(chunk) {
        bytes += chunk.length;
        hash.update(chunk);
        if (bytes <= KEEP_BYTES) kept.push(Buffer.from(chunk));
        if (reading) stream?.consumed(chunk.length);
        else owed += chunk.length;
      },
      message({ kind, data, creditBytes }) {
        messages.push({ kind, data: Buffer.from(data) });
        stream?.consumed(creditBytes);
      },
      messageClose(code, reason) {
        closes.push({ code, reason });
        stream?.sendMessageClose(code, reason);
      },
      end(fields) {
        trailers = fields;
      },
      writable: pour,
      closed(how) {
        sending = false;
        if (how.kind === "reset") head.reject(new Error(`reset: ${how.reason}: ${how.text}`));
        outcome.resolve(how);
      },
    },
  );
  if (!opened.ok) throw new Error(`not opened: ${JSON.stringify(opened.error)}`);
  stream = opened.stream;
  pour();

  const finished = async (): Promise<void> => {
    const how = await outcome.promise;
    if (how.kind === "reset") throw new Error(`reset: ${how.reason}: ${how.text}`);
  };
  return {
    stream: opened.stream,
    interim,
    head: head.promise,
    outcome: outcome.promise,
    get bytes() {
      return bytes;
    },
    get trailers() {
      return trailers;
    },
    messages,
    closes,
    read() {
      reading = true;
      stream?.consumed(owed);
      owed = 0;
    },
    async text() {
      await finished();
      return Buffer.concat(kept).toString();
    },
    async sha256() {
      await finished();
      return hash.digest("hex");
    },
  };
}
