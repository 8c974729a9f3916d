import { expect, test } from "vitest";
import { createCollector } from "./collector.node.ts";

const MIB = 1024 * 1024;

test("memory of bytes that have passed does not pile up", () => {
  const { passed, close } = createCollector(4 * MIB);
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  for (let i = 0; i < 2_000; i++) {
    most = Math.max(most, new ArrayBuffer(64 * 1024).byteLength + process.memoryUsage().arrayBuffers - before);
    passed(64 * 1024);
  }
  close();
  expect(most).toBeLessThan(24 * MIB);
});
