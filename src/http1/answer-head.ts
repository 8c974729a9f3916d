import { STATUS_CODES } from "node:http";
import { isFieldValue, kindOf } from "./fields.ts";
import type { HeaderList } from "./types.ts";

/** How the body of an answer ends. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "close" };

export interface AnswerShape {
  readonly method: string;
  readonly version: "1.0" | "1.1";
  /** Whether the connection may be used again after this answer. */
  readonly keepAlive: boolean;
  /** Length of a whole body; null: streamed. */
  readonly wholeBytes: number | null;
}

export interface AnswerText {
  readonly text: string;
  readonly framing: Framing;
  readonly keepAlive: boolean;
}

/** The head of a final answer as text. Null: something of it can't be sent (bad name, value or length). */
export function answerHead(status: number, headers: HeaderList, shape: AnswerShape): AnswerText | null {
  if (!Number.isInteger(status) || status < 200 || status > 999) return null;
  let text = statusLine(status);
  let length: number | null = null;
  let dated = false;
  for (const [name, value] of headers) {
    const kind = kindOf(name);
    if (kind === "owned") continue;
    if (kind === "bad" || !isFieldValue(value)) return null;
    if (kind === "length") {
      if (length !== null || !/^[0-9]{1,15}$/.test(value)) return null;
      length = Number(value);
      continue;
    }
    if (kind === "date") dated = true;
    text += `${name}: ${value}\r\n`;
  }
  if (!dated) text += `Date: ${httpDate()}\r\n`;

  const { method, version, wholeBytes } = shape;
  const bodiless = method === "HEAD" || status === 304;
  let framing: Framing;
  if (status === 204) framing = NONE;
  else if (bodiless) {
    const bytes = length ?? (method === "HEAD" && wholeBytes !== null && wholeBytes > 0 ? wholeBytes : null);
    if (bytes !== null) text += `Content-Length: ${bytes}\r\n`;
    framing = NONE;
  } else if (wholeBytes !== null) {
    if (length !== null && length !== wholeBytes) return null;
    text += `Content-Length: ${wholeBytes}\r\n`;
    framing = { kind: "length", bytes: wholeBytes };
  } else if (length !== null) {
    text += `Content-Length: ${length}\r\n`;
    framing = { kind: "length", bytes: length };
  } else if (version === "1.1") {
    text += "Transfer-Encoding: chunked\r\n";
    framing = CHUNKED;
  } else framing = CLOSE;

  const keepAlive = shape.keepAlive && framing.kind !== "close";
  if (!keepAlive) text += "Connection: close\r\n\r\n";
  else if (version === "1.0") text += "Connection: keep-alive\r\n\r\n";
  else text += "\r\n";
  return { text, framing, keepAlive };
}

/** An informational head (1xx but 101). Null: can't be sent. */
export function interimHead(status: number, headers: HeaderList): string | null {
  if (!Number.isInteger(status) || status < 100 || status > 199 || status === 101) return null;
  let text = statusLine(status);
  for (const [name, value] of headers) {
    const kind = kindOf(name);
    if (kind === "owned" || kind === "length") continue;
    if (kind === "bad" || !isFieldValue(value)) return null;
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

/** The end of a chunked body. Fields that can't be sent, or that frame, are left out: the answer is under way already. */
export function lastChunk(trailers: HeaderList): string {
  if (trailers.length === 0) return "0\r\n\r\n";
  let text = "0\r\n";
  for (const [name, value] of trailers) {
    if (kindOf(name) === "plain" && isFieldValue(value)) text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

const NONE: Framing = { kind: "none" };
const CHUNKED: Framing = { kind: "chunked" };
const CLOSE: Framing = { kind: "close" };

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  const cached = statusLines.get(status);
  if (cached !== undefined) return cached;
  const line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`;
  statusLines.set(status, line); // at most 900
  return line;
}

let dateText = "";
let dateSecond = 0;

/** The time as HTTP writes it, made once a second. */
function httpDate(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}
