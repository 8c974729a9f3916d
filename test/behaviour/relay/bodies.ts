import { expect, it } from "vitest";
import { bodyOf, textOf } from "./answers.ts";
import { collecting, joined, respond, until } from "./peer.ts";
import type { Stage } from "./suite.ts";

const MIB = 1024 * 1024;

/** Bytes that tell their place, so that a lost, doubled or swapped piece shows. */
function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let value = seed;
  for (let i = 0; i < length; i++) {
    value = (Math.imul(value, 1_103_515_245) + 12_345) & 0x7fffffff;
    bytes[i] = value >>> 16;
  }
  return bytes;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    yield bytes.subarray(at, at + size);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function bodies(stage: Stage): void {
  it("carries bodies of some megabytes both ways without a changed byte", async () => {
    const sent = pattern(3 * MIB + 17, 1);
    await stage.connector((stream) => {
      let more = (): void => undefined;
      const events = collecting(stream, (body) => {
        stream.respond({ status: 200, headers: [["content-length", String(body.length)]] }, false);
        let at = 0;
        more = () => {
          while (at < body.length && stream.writable > 0) {
            stream.write(body.slice(at, at + 65_536));
            at += 65_536;
          }
          if (at >= body.length) stream.end();
        };
        more();
      });
      return { ...events, writable: () => more() };
    });
    const answer = await stage.host.request({ method: "POST", body: inPieces(sent, 50_000) });
    expect(same(await bodyOf(answer), sent)).toBe(true);
  });

  it("makes an upload wait while the target takes nothing, and goes on when it does", async () => {
    let take = (): void => undefined;
    let held = 0;
    const parts: Uint8Array[] = [];
    const peer = await stage.connector(
      (stream) => {
        let taking = false;
        take = () => {
          taking = true;
          stream.consumed(held);
          held = 0;
        };
        return {
          data(bytes) {
            parts.push(bytes.slice());
            if (taking) stream.consumed(bytes.length);
            else held += bytes.length;
          },
          end: () => respond(stream, "taken"),
        };
      },
      { streamWindowBytes: 64 * 1024 },
    );
    const sent = pattern(2 * MIB, 2);
    const answer = stage.host.request({ method: "POST", body: inPieces(sent, 64 * 1024) });
    await until("the window is full", () => held === 64 * 1024);
    expect(peer.session.openStreams).toBe(1);
    take();
    expect(await textOf(await answer)).toBe("taken");
    expect(same(joined(parts), sent)).toBe(true);
  });

  it("lets a target answer before the request has ended", async () => {
    await stage.connector((stream) => {
      respond(stream, "enough", 413);
      return {};
    });
    const answer = await stage.host.request({ method: "POST", body: pattern(200_000, 3) });
    expect([answer.status, await textOf(answer)]).toEqual([413, "enough"]);
  });

  it("breaks an answer off visibly when the target does", async () => {
    await stage.connector((stream) => {
      stream.respond({ status: 200, headers: [["content-length", "1000"]] }, false);
      stream.write(new Uint8Array(10));
      setTimeout(() => stream.reset("target-reset", "gone"), 50);
      return {};
    });
    const answer = await stage.host.request({});
    expect(answer.status).toBe(200);
    await expect(bodyOf(answer)).rejects.toThrow();
  });

  it("serves others while many readers stand still", async () => {
    const peer = await stage.connector((stream, { path }) => {
      if (path === "/small") {
        respond(stream, "small");
        return {};
      }
      stream.respond({ status: 200, headers: [["content-type", "application/octet-stream"]] }, false);
      const more = (): void => {
        while (!stream.closed && stream.writable > 0) stream.write(new Uint8Array(32_768));
      };
      more();
      return { writable: more };
    });
    const stalled = await Promise.all(Array.from({ length: 30 }, () => stage.host.request({ path: "/endless" })));
    await Promise.all(stalled.map((answer) => answer.read()));
    for (let i = 0; i < 10; i++) expect(await textOf(await stage.host.request({ path: "/small" }))).toBe("small");
    await Promise.all(stalled.map((answer) => answer.cancel()));
    await until("all streams have ended", () => peer.session.openStreams === 0);
  });
}
