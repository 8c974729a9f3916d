import { expect, test } from "vitest";
import { handshakeFault } from "./handshake.ts";

const KEY: [string, string] = ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="];
const VERSION: [string, string] = ["Sec-WebSocket-Version", "13"];

test("a handshake that ws would refuse without a word is found out before", () => {
  expect(handshakeFault([KEY, VERSION])).toBeNull();
  expect(handshakeFault([KEY, VERSION, ["sec-websocket-protocol", "one, two"]])).toBeNull();
  for (const wrong of [
    [VERSION],
    [KEY, KEY, VERSION],
    [["sec-websocket-key", "short"], VERSION],
    [KEY],
    [KEY, ["sec-websocket-version", "8"]],
    [KEY, VERSION, VERSION],
    [KEY, VERSION, ["sec-websocket-protocol", "one,,two"]],
    [KEY, VERSION, ["sec-websocket-protocol", "one, one"]],
    [KEY, VERSION, ["sec-websocket-protocol", "a b"]],
  ] satisfies [string, string][][])
    expect(handshakeFault(wrong), JSON.stringify(wrong)).toMatch(/Sec-WebSocket/);
});
