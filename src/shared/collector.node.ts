import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { z } from "zod";

type Collect = (how: { type: "minor" | "major"; execution: "sync" }) => void;
const collectFunction = z.custom<Collect>((value) => typeof value === "function");

/** How often a process looks whether it is quiet. V8 makes its young space smaller when little was allocated for as long. */
const LOOK_MS = 5_000;
/** Quiet: less than this part of one core since the last look. A full collection takes some 20 ms then. */
const QUIET_CPU = 0.05;
/** Less is not worth a collection. */
const WORTH_BYTES = 16 * 1024 * 1024;

/** Collects garbage where V8 by itself would do it late. */
export interface Collector {
  /**
   * So many bytes passed through; young garbage is collected after each `everyBytes` of them. Memory that Node reads into hardly shows on V8's
   * heap: by itself V8 collects at some 70 MB of it, and then everything. A young collection takes a millisecond and finds nearly all of it.
   */
  readonly passed: (bytes: number) => void;
  readonly close: () => void;
}

/** One for a process. When it has become quiet after some work, all garbage is collected: V8 would keep it until there is more work. */
export function createCollector(everyBytes: number): Collector {
  setFlagsFromString("--expose-gc");
  const collect = collectFunction.parse(runInNewContext("gc")); // only contexts that are made now have it
  setFlagsFromString("--no-expose-gc");
  let passed = 0;
  let cpu = process.cpuUsage();
  let leastBytes = heapBytes();

  const look = setInterval(() => {
    const { user, system } = process.cpuUsage(cpu);
    cpu = process.cpuUsage();
    if (user + system > QUIET_CPU * LOOK_MS * 1_000) return;
    leastBytes = Math.min(leastBytes, heapBytes());
    if (heapBytes() < leastBytes + WORTH_BYTES) return;
    collect({ type: "major", execution: "sync" });
    collect({ type: "minor", execution: "sync" });
    leastBytes = heapBytes();
  }, LOOK_MS);
  look.unref();

  return {
    passed(bytes) {
      passed += bytes;
      if (passed < everyBytes) return;
      passed = 0;
      collect({ type: "minor", execution: "sync" });
    },
    close: () => clearInterval(look),
  };
}

/** What V8 has of the system, and what its objects keep beside it. */
function heapBytes(): number {
  const { total_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}
