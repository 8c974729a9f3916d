import { ERROR, METHODS, TYPE } from "undici/lib/llhttp/constants.js";
import { instantiate, type Llhttp } from "./llhttp-wasm.cjs";

/** What llhttp calls while it executes. Answer 0 to go on, `LLHTTP_ERROR.paused` to stop after this, -1 to fail. */
export interface LlhttpCallbacks {
  begin(): number;
  target(at: number, length: number): number;
  field(at: number, length: number): number;
  value(at: number, length: number): number;
  /** Answer 1: no body follows. */
  head(status: number, upgrade: boolean, keepAlive: boolean): number;
  body(at: number, length: number): number;
  complete(): number;
}

const numberOf = (table: Readonly<Record<string, number>>, name: string): number => {
  const number = table[name];
  if (number === undefined) throw new Error(`this build of llhttp has no ${name}`);
  return number;
};

export const LLHTTP_ERROR = {
  ok: numberOf(ERROR, "OK"),
  paused: numberOf(ERROR, "PAUSED"),
  pausedUpgrade: numberOf(ERROR, "PAUSED_UPGRADE"),
  pausedH2Upgrade: numberOf(ERROR, "PAUSED_H2_UPGRADE"),
  unexpectedContentLength: numberOf(ERROR, "UNEXPECTED_CONTENT_LENGTH"),
  invalidContentLength: numberOf(ERROR, "INVALID_CONTENT_LENGTH"),
  invalidTransferEncoding: numberOf(ERROR, "INVALID_TRANSFER_ENCODING"),
  invalidVersion: numberOf(ERROR, "INVALID_VERSION"),
};
export const LLHTTP_TYPE = { request: numberOf(TYPE, "REQUEST"), response: numberOf(TYPE, "RESPONSE") };

/** Method names by llhttp's numbers. */
export const METHOD_NAMES: readonly string[] = Object.entries(METHODS).reduce<string[]>((names, [name, number]) => {
  names[number] = name;
  return names;
}, []);

/** One instance serves all parsers of a process: `callbacks` are of whichever executes. `variant`: for measurements only. */
export function instantiateLlhttp(callbacks: LlhttpCallbacks, variant: "simd" | "plain" = "simd"): Llhttp {
  return instantiate(
    {
      wasm_on_message_begin: () => callbacks.begin(),
      wasm_on_url: (_parser, at, length) => callbacks.target(at, length),
      wasm_on_status: () => 0, // reason phrases mean nothing (RFC 9112, section 4)
      wasm_on_header_field: (_parser, at, length) => callbacks.field(at, length),
      wasm_on_header_value: (_parser, at, length) => callbacks.value(at, length),
      wasm_on_headers_complete: (_parser, status, upgrade, keepAlive) =>
        callbacks.head(status, upgrade === 1, keepAlive === 1),
      wasm_on_body: (_parser, at, length) => callbacks.body(at, length),
      wasm_on_message_complete: () => callbacks.complete(),
    },
    variant,
  );
}
