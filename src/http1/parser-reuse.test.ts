import { expect, test } from "vitest";
import { createResponseParser } from "./parser.ts";

test("a long body before it is not counted as the next message's chunk framing", () => {
  const parser = createResponseParser({ headBytes: 2048, fields: 20, targetBytes: 200, trailerBytes: 200 });
  const long = Buffer.concat([Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"), Buffer.alloc(300_000)]);
  for (const piece of [long.subarray(0, 100_000), long.subarray(100_000)]) parser.feed(piece, 0);
  expect([parser.complete, parser.fault]).toEqual([true, null]);
  parser.feed(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), 0);
  expect(parser.fault).toBeNull();
  parser.feed(Buffer.from("others"), 0);
  expect([parser.complete, parser.fault]).toEqual([true, null]);
});
