import { createHash } from "node:crypto";
import { request } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { blobSha256 } from "../../local-stack/shared/streams.ts";
import { type TestStack, sharedStack } from "../support/stack.ts";

const GIB = 1024 ** 3;
/** What the processes on the path may grow by while 1 GiB passes: windows, sockets and V8's slack, far from the whole body. */
const GROWTH_LIMIT_BYTES = 400 * 1024 ** 2;

let stack: TestStack;
beforeAll(async () => {
  stack = await sharedStack();
});

function send(host: string, path: string, body?: AsyncIterable<Buffer>) {
  return new Promise<{ bytes: number; sha256: string; last: Buffer }>((resolve, reject) => {
    const asked = request(
      {
        host: "127.0.0.1",
        port: stack.edgePort,
        path,
        method: body === undefined ? "GET" : "POST",
        headers: { host: `${host}.${stack.baseDomain}:${stack.edgePort}` },
        agent: false,
      },
      (response) => {
        const hash = createHash("sha256");
        let bytes = 0;
        let last: Buffer = Buffer.alloc(0);
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          hash.update(chunk);
          last = chunk;
        });
        response.once("error", reject);
        response.once("end", () =>
          response.statusCode === 200
            ? resolve({ bytes, sha256: hash.digest("hex"), last })
            : reject(new Error(`status ${response.statusCode}: ${last.toString()}`)),
        );
      },
    );
    asked.once("error", reject);
    if (body === undefined) asked.end();
    else void upload(asked, body).catch(reject);
  });
}

async function upload(asked: ReturnType<typeof request>, body: AsyncIterable<Buffer>): Promise<void> {
  for await (const chunk of body) {
    if (!asked.write(chunk)) await new Promise((resolve) => asked.once("drain", resolve));
  }
  asked.end();
}

/** 1 GiB of blocks that all differ, and its hash once it was sent. */
function gibibyte(): { body: AsyncIterable<Buffer>; sha256: () => string } {
  const hash = createHash("sha256");
  const block = Buffer.alloc(1024 ** 2, "causeway ");
  async function* blocks() {
    for (let i = 0; i < GIB / block.length; i++) {
      const next = Buffer.from(block);
      next.writeUInt32BE(i, 0);
      hash.update(next);
      yield next;
    }
  }
  return { body: blocks(), sha256: () => hash.digest("hex") };
}

/** 0 where the system does not tell: then only the bytes are checked. */
function residentBytes(pid: number): number {
  if (!existsSync(`/proc/${pid}/status`)) return 0;
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

/** Runs `work` and tells by how much each of the stack's processes grew at most meanwhile. */
async function watchingMemory(work: () => Promise<void>): Promise<Record<string, number>> {
  const parts = stack
    .parts()
    .flatMap(({ name, pid }) => (pid === null ? [] : [{ name, pid, before: residentBytes(pid) }]));
  const growth: Record<string, number> = {};
  const timer = setInterval(() => {
    for (const { name, pid, before } of parts) {
      growth[name] = Math.max(growth[name] ?? 0, residentBytes(pid) - before);
    }
  }, 100);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return growth;
}

test.each([
  ["edge → node", "acme", "/app"],
  ["edge → relay → target", "demo--acme", ""],
])(
  "1 GiB down and 1 GiB up pass %s with matching hashes and flat memory",
  async (_path, host, prefix) => {
    const growth = await watchingMemory(async () => {
      const { bytes, sha256: seen } = await send(host, `${prefix}/blob?mb=1024`);
      expect([bytes, seen]).toEqual([GIB, blobSha256(1024)]);
      const { body, sha256 } = gibibyte();
      const answer = JSON.parse((await send(host, `${prefix}/upload`, body)).last.toString());
      expect(answer).toMatchObject({ bytes: GIB, sha256: sha256() });
    });
    for (const [part, bytes] of Object.entries(growth)) expect(bytes, part).toBeLessThan(GROWTH_LIMIT_BYTES);
  },
  240_000,
);
