import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { z } from "zod";

const collector = z.custom<(how: { type: "minor"; execution: "sync" }) => void>((value) => typeof value === "function");

/**
 * Told of bytes that passed through, collects young garbage after each `everyBytes` of them. Memory that Node reads into hardly shows on V8's
 * heap: by itself V8 collects at some 70 MB of it, and then everything. A young collection takes a millisecond and finds nearly all of it.
 */
export function createYoungCollector(everyBytes: number): (bytes: number) => void {
  setFlagsFromString("--expose-gc");
  const collect = collector.parse(runInNewContext("gc")); // only contexts that are made now have it
  setFlagsFromString("--no-expose-gc");
  let passed = 0;
  return (bytes) => {
    passed += bytes;
    if (passed < everyBytes) return;
    passed = 0;
    collect({ type: "minor", execution: "sync" });
  };
}
