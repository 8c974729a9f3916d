import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CLOSE } from "./close-codes.ts";
import { FRAME, readFrames } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { decodeOpen, decodeResponse, decodeTrailers, encodeOpen, encodeResponse, encodeTrailers } from "./head.ts";
import { MessageBuilder } from "./message-builder.ts";
import { createSession } from "./session.ts";
import type { Session } from "./session.ts";
import { GET, LIMITS, SEND } from "./session.support.ts";

const fieldName = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/);
const latin1 = fc.string({
  unit: fc
    .integer({ min: 1, max: 255 })
    .filter((c) => c !== 10 && c !== 13)
    .map((c) => String.fromCharCode(c)),
  maxLength: 60,
});
const headers = fc.array(fc.tuple(fieldName, latin1), { maxLength: 30 });
const build = (frames: readonly Omit<Frame, never>[]): Uint8Array => {
  const builder = new MessageBuilder((bytes) => new Uint8Array(bytes));
  for (const { type, flags, streamId, payload } of frames) builder.add(type, flags, streamId, payload);
  return builder.build() ?? new Uint8Array();
};
const anyFrame = fc.record({
  type: fc.oneof(fc.constantFrom(...Object.values(FRAME)), fc.nat(255)),
  flags: fc.oneof(fc.constantFrom(0, 1, 2, 4, 0x80), fc.nat(255)),
  streamId: fc.oneof(fc.nat(8), fc.integer({ min: 0, max: 0xffffffff })),
  payload: fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    headers
      .map((list) => encodeResponse({ status: 200, headers: list }))
      .map((e) => (e.ok ? Uint8Array.from(e.payload) : new Uint8Array())),
    headers
      .map((list) => encodeOpen({ ...GET, headers: list }, 70_000))
      .map((e) => (e.ok ? Uint8Array.from(e.payload) : new Uint8Array())),
  ),
});

describe("frames", () => {
  it("come back as they were put into a message", () => {
    fc.assert(
      fc.property(fc.array(anyFrame), (frames) => {
        const seen: Frame[] = [];
        expect(readFrames(build(frames), (frame) => seen.push({ ...frame, payload: frame.payload.slice() }) > 0)).toBe(
          true,
        );
        expect(seen).toEqual(frames);
      }),
    );
  });

  it("are never read beyond the message", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        let used = 0;
        const whole = readFrames(bytes, ({ payload }) => (used += 9 + payload.length) > 0);
        expect(used).toBeLessThanOrEqual(bytes.length);
        expect(whole).toBe(used === bytes.length);
      }),
    );
  });
});

describe("the specification", () => {
  it("shows the bytes that go over the wire", () => {
    const page = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8");
    const example = page.slice(page.indexOf("**Example.**")).split("```")[1] ?? "";
    const [there = "", back = ""] = example.split("\n\n").map((message) =>
      message
        .split("\n")
        .map((line) => /^ +((?:[0-9a-f]{2} )+)/.exec(`${line} `)?.[1] ?? "")
        .join("")
        .replaceAll(" ", ""),
    );
    const open = encodeOpen({ ...GET, headers: [["a", "b"]], deadlineMs: 50_000 }, 65_536);
    const head = encodeResponse({ status: 200, headers: [] });
    if (!open.ok || !head.ok) throw new Error("not encoded");
    const body = new TextEncoder().encode("hi");
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
    expect(there).toBe(hex(build([{ type: FRAME.open, flags: 1, streamId: 1, payload: open.payload }])));
    expect(back).toBe(
      hex(
        build([
          { type: FRAME.headers, flags: 0, streamId: 1, payload: head.payload },
          { type: FRAME.data, flags: 1, streamId: 1, payload: body },
        ]),
      ),
    );
    expect([there.length / 2, back.length / 2]).toEqual([39, 24]);
  });
});

describe("heads", () => {
  it("come back unchanged, in order, with duplicates", () => {
    fc.assert(
      fc.property(headers, fc.integer({ min: 100, max: 599 }), (list, status) => {
        const encoded = encodeResponse({ status, headers: list });
        const open = encodeOpen({ ...GET, headers: list, deadlineMs: 1234 }, 70_000);
        const trailers = encodeTrailers(list);
        if (!encoded.ok || !open.ok || !trailers.ok) throw new Error("not encoded");
        expect(decodeResponse(encoded.payload)).toEqual({ ok: true, value: { status, headers: list } });
        expect(decodeTrailers(trailers.payload)).toEqual({ ok: true, value: list });
        expect(decodeOpen(open.payload)).toMatchObject({
          ok: true,
          value: { headers: list, deadlineMs: 1234, windowBytes: 70_000, path: "/" },
        });
      }),
    );
  });

  it("send text beyond latin1 as its UTF-8 octets", () => {
    const encoded = encodeResponse({ status: 200, headers: [["a", "日"]] });
    if (!encoded.ok) throw new Error("not encoded");
    expect(decodeResponse(encoded.payload)).toMatchObject({ value: { headers: [["a", "\u00e6\u0097\u00a5"]] } });
  });

  it("that don't add up are errors, not crashes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (payload) => {
        for (const decode of [decodeOpen, decodeResponse, decodeTrailers])
          expect(typeof decode(payload).ok).toBe("boolean");
      }),
      { numRuns: 1000 },
    );
  });
});

describe("a session that is fed anything", () => {
  const KNOWN: number[] = Object.values(CLOSE);

  it("either goes on or fails with a close code of ours, and never throws", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("relay" as const, "connector" as const),
        fc.array(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.array(anyFrame, { maxLength: 6 }).map(build)), {
          maxLength: 10,
        }),
        fc.boolean(),
        (side, messages, greeted) => {
          const codes: number[] = [];
          const create = (role: "relay" | "connector"): Session =>
            createSession({
              role,
              now: () => 0,
              limits: LIMITS,
              send: SEND,
              identity: { instanceId: "", targets: [], sessionId: "", software: "" },
              events: {
                flushNeeded: () => undefined,
                failed: ({ closeCode }) => void codes.push(closeCode),
                open: (stream) => {
                  stream.respond({ status: 200, headers: [] }, true);
                  return {};
                },
              },
            });
          const session = create(side);
          if (greeted) {
            session.receive(create(side === "relay" ? "connector" : "relay").takeMessage() ?? new Uint8Array());
            expect(session.state).toBe("open");
          }
          if (side === "relay") for (let i = 0; i < 4; i++) session.open({ ...GET, end: i % 2 === 0 }, {});
          for (const message of messages) {
            session.receive(message);
            while (session.takeMessage() !== null);
          }
          expect(codes.length).toBeLessThanOrEqual(1);
          for (const code of codes) expect(KNOWN).toContain(code);
          if (codes.length > 0) expect([session.state, session.openStreams]).toEqual(["closed", 0]);
        },
      ),
      { numRuns: 500 },
    );
  });
});
