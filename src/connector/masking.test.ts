import { expect, test } from "vitest";
import { mask, maskByWords, nextMaskKey } from "./masking.ts";

const byBytes = (bytes: Uint8Array, key: Uint8Array): Uint8Array =>
  bytes.map((byte, index) => byte ^ (key[index & 3] ?? 0));

test.each([
  ["the addon, where it is", mask],
  ["words", maskByWords],
])("%s: as the RFC says, at every length and place", (_what, masked) => {
  const key = Buffer.from([0x12, 0x80, 0xff, 0x01]);
  const memory = new ArrayBuffer(300);
  for (const offset of [0, 1, 2, 3, 4, 8]) {
    for (const length of [0, 1, 3, 4, 5, 63, 64, 255]) {
      const bytes = new Uint8Array(memory, offset, length).map((_, index) => index * 7);
      const view = new Uint8Array(memory, offset, length);
      view.set(bytes);
      masked(view, key);
      expect(view).toEqual(byBytes(bytes, key));
    }
  }
});

test("keys differ", () => {
  const keys = new Set(Array.from({ length: 5_000 }, () => nextMaskKey().toString("hex")));
  expect(keys.size).toBeGreaterThan(4_990);
});
