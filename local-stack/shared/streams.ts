import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** Streaming answers that the demo services and the demo target share: big bodies both ways, server-sent events, late answers. */

export const BLOB_BLOCK_BYTES = 64 * 1024;
const BLOCKS_PER_MIB = (1024 * 1024) / BLOB_BLOCK_BYTES;
const MAX_BLOB_MIB = 16 * 1024;

/** One block of a blob: its number, then bytes that follow from it, so that a lost, doubled or moved block changes the hash. */
export function blobBlock(index: number): Buffer {
  const block = Buffer.alloc(BLOB_BLOCK_BYTES, index & 0xff);
  block.writeUInt32BE(index, 0);
  return block;
}

/** SHA-256, hex, of a blob of so many MiB. */
export function blobSha256(mebibytes: number): string {
  const hash = createHash("sha256");
  for (let index = 0; index < mebibytes * BLOCKS_PER_MIB; index++) hash.update(blobBlock(index));
  return hash.digest("hex");
}

const wait = (response: ServerResponse, event: "drain"): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      response.off(event, done);
      response.off("close", done);
      resolve();
    };
    response.on(event, done);
    response.on("close", done);
  });

/** `?mb=N` MiB (default 1) with a content length, as fast as the reader takes them. */
export async function sendBlob(url: URL, response: ServerResponse): Promise<void> {
  const mebibytes = Math.min(Math.max(Number.parseInt(url.searchParams.get("mb") ?? "1", 10) || 0, 0), MAX_BLOB_MIB);
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": mebibytes * 1024 * 1024 });
  for (let index = 0; index < mebibytes * BLOCKS_PER_MIB && !response.destroyed; index++) {
    if (!response.write(blobBlock(index))) await wait(response, "drain");
  }
  response.end();
}

/** Reads the body to its end and answers `{ bytes, sha256 }`. */
export async function takeUpload(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  sendJson(response, 200, { bytes, sha256: hash.digest("hex") });
}

/** Server-sent events: `?count=N` (default 10) numbers, `?ms=N` (default 1000) apart. */
export async function sendEvents(url: URL, response: ServerResponse): Promise<void> {
  const count = Number.parseInt(url.searchParams.get("count") ?? "10", 10);
  const pauseMs = Number.parseInt(url.searchParams.get("ms") ?? "1000", 10);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  for (let index = 1; index <= count && !response.destroyed; index++) {
    response.write(`id: ${index}\nevent: tick\ndata: ${JSON.stringify({ index, at: Date.now() })}\n\n`);
    if (index < count) await sleep(pauseMs);
  }
  response.end();
}

/** Answers after `?ms=N` (default 1000). */
export async function sendSlowly(url: URL, response: ServerResponse): Promise<void> {
  const ms = Number.parseInt(url.searchParams.get("ms") ?? "1000", 10);
  await sleep(ms);
  if (!response.destroyed) sendJson(response, 200, { ms });
}

export function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}
