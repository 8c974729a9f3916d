import { CHUNK_OVERHEAD_BYTES, CHUNK_OVERHEAD_PER_BYTE } from "./limits.ts";
import { instantiateLlhttp, LLHTTP_ERROR, LLHTTP_TYPE, METHOD_NAMES } from "./llhttp.ts";
import type { HeaderList } from "./types.ts";

/**
 * llhttp, strict, one message at a time. Nothing is called back: `feed` parses up to the end of the message (or of the bytes) and leaves
 * what it found in fields, so that handlers run outside of llhttp and may do anything. Body pieces are offsets into the fed chunk.
 */
export interface Parser {
  /** Parses from `from`; answers where it stopped. Less than the chunk's length: a message is complete, or `fault` is set. */
  feed(chunk: Buffer, from: number): number;
  /** The peer sent its end. True: that ends the message in the regular way (`complete` is set then if one was open). */
  finish(): boolean;
  /** Before the head of an answer: no body follows, whatever the head says (HEAD). */
  expectNoBody(none: boolean): void;
  /** Set by the `feed` (or `finish`) in which it happened. */
  readonly head: ParsedHead | null;
  readonly complete: boolean;
  readonly fault: ParseFault | null;
  /** Start and end of each body piece of the last `feed`. */
  readonly body: readonly number[];
  /** With `complete`. */
  readonly trailers: HeaderList;
  /** Whether bytes of a message have come whose end has not. */
  readonly midMessage: boolean;
  free(): void;
}

export interface ParsedHead {
  /** Requests: known methods only. */
  readonly method: string;
  readonly target: string;
  /** Answers. */
  readonly status: number;
  readonly version: "1.0" | "1.1";
  readonly headers: HeaderList;
  readonly keepAlive: boolean;
  /** The message asks to leave HTTP, or (101) does. */
  readonly upgrade: boolean;
}

export type ParseFault =
  | "target-too-long"
  | "head-too-large"
  | "trailers-too-large"
  | "chunk-overhead"
  | "content-length" // invalid, twice, or beside Transfer-Encoding
  | "transfer-encoding"
  | "version"
  | "malformed";

export interface ParserLimits {
  readonly headBytes: number;
  readonly fields: number;
  readonly targetBytes: number;
  readonly trailerBytes: number;
}

/** The parser that executes; there is only one at a time because nothing of ours is called from inside. */
let current: MessageParser | null = null;

function as(parser: MessageParser, run: () => number): number {
  current = parser;
  const result = run();
  current = null;
  return result;
}

const llhttp = instantiateLlhttp({
  begin: () => current?.onBegin() ?? -1,
  target: (at, length) => current?.onTarget(at - input, length) ?? -1,
  field: (at, length) => current?.onText(FIELD, at - input, length) ?? -1,
  value: (at, length) => current?.onText(VALUE, at - input, length) ?? -1,
  head: (status, upgrade, keepAlive) => current?.onHead(status, upgrade, keepAlive) ?? -1,
  body: (at, length) => current?.onBody(at - input, length) ?? -1,
  complete: () => current?.onComplete() ?? -1,
});

/** Where bytes are put for llhttp: one read of Node's. Longer chunks go in parts. */
const INPUT_BYTES = 64 * 1024;
const input = llhttp.malloc(INPUT_BYTES);
let window = new Uint8Array(llhttp.memory.buffer, input, INPUT_BYTES);

const EMPTY = Buffer.alloc(0);
const NONE: HeaderList = [];
const NOTHING = 0;
const FIELD = 1;
const VALUE = 2;
const SEPARATORS = 4; // ": " and the line's end
const NO_BODY = 1;

export const createRequestParser = (limits: ParserLimits): Parser => new MessageParser(LLHTTP_TYPE.request, limits);
export const createResponseParser = (limits: ParserLimits): Parser => new MessageParser(LLHTTP_TYPE.response, limits);

class MessageParser implements Parser {
  head: ParsedHead | null = null;
  complete = false;
  fault: ParseFault | null = null;
  body: number[] = [];
  trailers: HeaderList = [];
  midMessage = false;

  readonly #pointer: number;
  readonly #limits: ParserLimits;
  #freed = false;
  #noBody = false;
  #inHead = true;
  // Text spans of this execution: kind, start, end. They become strings at the head's end, all from one decoded text.
  readonly #spans: number[] = [];
  #chunk: Buffer = EMPTY;
  #base = 0;
  // Text that began in an earlier chunk.
  #texts: string[] = [];
  #open: typeof NOTHING | typeof FIELD | typeof VALUE = NOTHING;
  #target = "";
  #headBytes = 0;
  #rawBytes = 0;
  #fields = 0;
  #bodyBytes = 0;
  #overheadBytes = 0;

  constructor(type: number, limits: ParserLimits) {
    this.#pointer = llhttp.llhttp_alloc(type);
    this.#limits = limits;
  }

  expectNoBody(none: boolean): void {
    this.#noBody = none;
  }

  feed(chunk: Buffer, from: number): number {
    this.#clear();
    let at = from;
    while (at < chunk.length && !this.complete && this.fault === null) {
      const end = Math.min(chunk.length, at + INPUT_BYTES);
      at = this.#execute(chunk, at, end);
    }
    return at;
  }

  finish(): boolean {
    this.#clear();
    if (this.#freed || this.fault !== null) return false;
    const result = as(this, () => llhttp.llhttp_finish(this.#pointer));
    return result === LLHTTP_ERROR.ok || (result === LLHTTP_ERROR.paused && this.complete);
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    llhttp.llhttp_free(this.#pointer);
  }

  #clear(): void {
    this.head = null;
    this.complete = false;
    if (this.body.length > 0) this.body = [];
  }

  #execute(chunk: Buffer, start: number, end: number): number {
    if (this.#freed) return end;
    if (window.buffer !== llhttp.memory.buffer) window = new Uint8Array(llhttp.memory.buffer, input, INPUT_BYTES);
    window.set(start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end));
    this.#chunk = chunk;
    this.#base = start;
    const bodyBefore = this.#bodyBytes;
    const execute = () => llhttp.llhttp_execute(this.#pointer, input, end - start);
    let result = as(this, execute);
    if (result === LLHTTP_ERROR.pausedUpgrade && !this.complete) {
      // The message before this one asked to leave HTTP and was answered in HTTP.
      llhttp.llhttp_resume_after_upgrade(this.#pointer);
      result = as(this, execute);
    }
    let stop = end;
    if (result !== LLHTTP_ERROR.ok) {
      stop = start + llhttp.llhttp_get_error_pos(this.#pointer) - input;
      if (result === LLHTTP_ERROR.paused) llhttp.llhttp_resume(this.#pointer);
      else if (result !== LLHTTP_ERROR.pausedUpgrade) this.fault ??= faultOf(result);
    }
    this.#keepOpenText();
    this.#chunk = EMPTY;
    if (!this.complete) this.#count(stop - start, this.#bodyBytes - bodyBefore);
    return stop;
  }

  /** What spans do not show: white space of endless heads, and chunk extensions. */
  #count(bytes: number, bodyBytes: number): void {
    if (this.#inHead) {
      if (!this.midMessage) return;
      this.#rawBytes += bytes;
      if (this.#rawBytes > this.#limits.headBytes) this.fault ??= "head-too-large";
      return;
    }
    this.#overheadBytes += bytes - bodyBytes;
    if (
      this.#overheadBytes >
      CHUNK_OVERHEAD_BYTES + this.#bodyBytes * CHUNK_OVERHEAD_PER_BYTE + this.#limits.headBytes
    ) {
      this.fault ??= "chunk-overhead";
    }
  }

  // ---- called by llhttp

  onBegin(): number {
    this.midMessage = true;
    this.#inHead = true;
    this.#target = "";
    this.#startTexts();
    this.#rawBytes = 0;
    return 0;
  }

  onTarget(at: number, length: number): number {
    this.#headBytes += length;
    if (this.#headBytes > this.#limits.targetBytes) return this.#fail("target-too-long");
    this.#target += this.#chunk.toString("latin1", this.#base + at, this.#base + at + length);
    return 0;
  }

  onText(kind: typeof FIELD | typeof VALUE, at: number, length: number): number {
    const spans = this.#spans;
    this.#headBytes += length;
    if (kind === FIELD) {
      const last = spans.length === 0 ? this.#open : spans[spans.length - 3];
      if (last !== FIELD) {
        this.#headBytes += SEPARATORS;
        this.#fields += 1;
      }
    }
    const limits = this.#limits;
    if (this.#inHead) {
      if (this.#headBytes > limits.headBytes || this.#fields > limits.fields) return this.#fail("head-too-large");
    } else if (this.#headBytes > limits.trailerBytes || this.#fields > limits.fields) {
      return this.#fail("trailers-too-large");
    }
    spans.push(kind, this.#base + at, this.#base + at + length);
    return 0;
  }

  onHead(status: number, upgrade: boolean, keepAlive: boolean): number {
    const major = llhttp.llhttp_get_http_major(this.#pointer);
    const minor = llhttp.llhttp_get_http_minor(this.#pointer);
    if (major !== 1 || minor > 1) return this.#fail("version");
    this.head = {
      method: status === 0 ? (METHOD_NAMES[llhttp.llhttp_get_method(this.#pointer)] ?? "") : "",
      target: this.#target,
      status,
      version: minor === 1 ? "1.1" : "1.0",
      headers: this.#takeTexts(),
      keepAlive,
      upgrade,
    };
    this.#inHead = false;
    this.#startTexts();
    const informational = status >= 100 && status < 200 && status !== 101;
    const none = this.#noBody || informational || status === 204 || status === 304;
    return status !== 0 && none ? NO_BODY : 0;
  }

  onBody(at: number, length: number): number {
    this.#bodyBytes += length;
    this.body.push(this.#base + at, this.#base + at + length);
    return 0;
  }

  onComplete(): number {
    this.trailers = this.#fields === 0 ? NONE : this.#takeTexts();
    this.midMessage = false;
    this.#inHead = true;
    this.complete = true;
    // Not at the next one's begin: what an execution added is the difference over it, and it may begin one.
    this.#bodyBytes = 0;
    this.#overheadBytes = 0;
    return LLHTTP_ERROR.paused;
  }

  #fail(fault: ParseFault): number {
    this.fault = fault;
    return -1;
  }

  // ---- names and values

  #startTexts(): void {
    this.#texts = [];
    this.#open = NOTHING;
    this.#headBytes = 0;
    this.#fields = 0;
    this.#spans.length = 0;
  }

  /** Pairs of all spans so far; text is decoded once, and the strings are slices of it. */
  #takeTexts(): HeaderList {
    const spans = this.#spans;
    const pairs: (readonly [string, string])[] = [];
    if (this.#texts.length === 0 && spans.length > 0) {
      const first = spans[1] ?? 0;
      const text = this.#chunk.toString("latin1", first, spans[spans.length - 1]);
      let name = "";
      let value = "";
      let last: number = VALUE;
      for (let i = 0; i < spans.length; i += 3) {
        const kind = spans[i] ?? 0;
        const part = text.slice((spans[i + 1] ?? 0) - first, (spans[i + 2] ?? 0) - first);
        if (kind === FIELD && last === VALUE) {
          if (i > 0) pairs.push([name, trimEnd(value)]);
          name = part;
          value = "";
        } else if (kind === FIELD) name += part;
        else value += part;
        last = kind;
      }
      pairs.push([name, trimEnd(value)]);
      return pairs;
    }
    this.#keepOpenText();
    const texts = this.#texts;
    for (let i = 0; i < texts.length; i += 2) pairs.push([texts[i] ?? "", trimEnd(texts[i + 1] ?? "")]);
    return pairs;
  }

  /** The chunk's memory is not ours after `feed`: what is not finished becomes strings. */
  #keepOpenText(): void {
    const spans = this.#spans;
    for (let i = 0; i < spans.length; i += 3) {
      const kind = spans[i] === FIELD ? FIELD : VALUE;
      const part = this.#chunk.toString("latin1", spans[i + 1] ?? 0, spans[i + 2] ?? 0);
      if (kind === this.#open) this.#texts[this.#texts.length - 1] += part;
      else this.#texts.push(part);
      this.#open = kind;
    }
    spans.length = 0;
  }
}

/** llhttp leaves white space after a value. */
function trimEnd(value: string): string {
  const last = value.charCodeAt(value.length - 1);
  return last === 32 || last === 9 ? value.replace(/[ \t]+$/, "") : value;
}

function faultOf(error: number): ParseFault {
  switch (error) {
    case LLHTTP_ERROR.unexpectedContentLength:
    case LLHTTP_ERROR.invalidContentLength:
      return "content-length";
    case LLHTTP_ERROR.invalidTransferEncoding:
      return "transfer-encoding";
    case LLHTTP_ERROR.invalidVersion:
    case LLHTTP_ERROR.pausedH2Upgrade:
      return "version";
    default:
      return "malformed";
  }
}
