import { answerHead } from "./answer-head.ts";
import type { Http1ServerOptions } from "./server-types.ts";
import type { Refusal } from "./types.ts";

/** A refusal as bytes, with `Connection: close`. */
export function refusalText(refusal: Refusal, render: Http1ServerOptions["onRefused"]): Buffer {
  const { headers, body } = render?.(refusal) ?? plainRefusal(refusal);
  const bytes = Buffer.from(body);
  const shape = { method: "GET", version: "1.1", keepAlive: false, wholeBytes: bytes.length } as const;
  const head = answerHead(refusal.status, headers, shape) ?? answerHead(refusal.status, [], shape);
  return Buffer.concat([Buffer.from(head?.text ?? "", "latin1"), bytes]);
}

const plainRefusal = ({ detail }: Refusal) => ({
  headers: [["Content-Type", "text/plain; charset=utf-8"]] as const,
  body: `${detail}\n`,
});
