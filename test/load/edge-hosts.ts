import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { BASE_DOMAIN, startProduct, type ObjectCall } from "../../bench/scenarios/product.ts";
import { startOrigin } from "../../bench/scenarios/yardsticks.ts";
import { directoryShard, type DirectoryRecord } from "../../src/policy/record.ts";

/**
 * node test/load/edge-hosts.ts --hosts 10000 --rounds 8
 *
 * Asks the real edge on bare workerd for so many tenants' hosts in turn, round after round, twice as many as it keeps records of: each
 * request is a record that was pushed out, and a proof that has to be signed. Prints resident memory after each round, and what the engine's
 * heaps hold after their newest collection: flat after the first rounds, or something is kept. `--full-collections`: each collection is a full
 * one, so that heaps say what is really kept, at the price of time.
 */
const { values } = parseArgs({
  options: {
    hosts: { type: "string", default: "10000" },
    rounds: { type: "string", default: "8" },
    connections: { type: "string", default: "32" },
    "full-collections": { type: "boolean", default: false },
  },
});
const hosts = Number(values.hosts);
const folder = mkdtempSync(join(tmpdir(), "cw-edge-hosts-"));
const product = await startProduct(folder, { ACCESS_LOG: "off" }, [
  "--trace-gc",
  ...(values["full-collections"] ? ["--gc-global"] : []),
]);
const origin = await startOrigin(folder);

/** A tenant on one of 100 nodes, all of them one origin. */
function publication(index: number): ObjectCall {
  const host = `tenant-${index}.${BASE_DOMAIN}`;
  const record: DirectoryRecord = {
    host,
    tenantId: `ten_${index}`,
    slug: `tenant-${index}`,
    cluster: "default",
    state: "active",
    node: { id: `nod_${index % 100}`, name: `node-${index % 100}`, url: origin.url },
    routes: [{ prefix: "/", access: "public", to: { kind: "service", service: "app" } }],
    accessRevision: 0,
    notBefore: {},
    revision: 1,
  };
  return { namespace: "DIRECTORY", name: directoryShard(host), method: "publish", args: [record] };
}

function residentMiB(): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${product.child.pid}/status`, "utf8")) ?? [];
  return Math.round(Number(kib) / 1024);
}

/** MB that each isolate held after its newest collection, and their sum. */
function heaps(): { readonly sum: number; readonly largest: readonly number[] } {
  const byIsolate = new Map<string, number>();
  for (const [, isolate = "", mb = ""] of product.child
    .log()
    .matchAll(/\[\d+:(0x[0-9a-f]+)(?::\d+)?\][^\n]*(?:Scavenge|Mark-Compact)[^\n]*? -> ([\d.]+) \(/g))
    byIsolate.set(isolate, Number(mb));
  const all = [...byIsolate.values()].sort((a, b) => b - a);
  return { sum: Math.round(all.reduce((sum, mb) => sum + mb, 0)), largest: all.slice(0, 3).map(Math.round) };
}

try {
  for (let from = 0; from < hosts; from += 500)
    await product.call(Array.from({ length: Math.min(500, hosts - from) }, (_, i) => publication(from + i)));
  const pool = new Pool(product.url, { connections: Number(values.connections), pipelining: 1 });
  console.log(JSON.stringify({ round: 0, residentMiB: residentMiB(), heapMb: heaps(), load: loadavg()[0] }));
  for (let round = 1; round <= Number(values.rounds); round++) {
    let asked = 0;
    const statuses: Record<number, number> = {};
    const startMs = performance.now();
    const connection = async (): Promise<void> => {
      while (asked < hosts) {
        const headers = { host: `tenant-${asked++}.${BASE_DOMAIN}` };
        const response = await pool.request({ method: "GET", path: "/", headers });
        await response.body.dump();
        statuses[response.statusCode] = (statuses[response.statusCode] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: Number(values.connections) }, connection));
    const seconds = Math.round((performance.now() - startMs) / 100) / 10;
    const load = loadavg()[0];
    console.log(JSON.stringify({ round, statuses, seconds, residentMiB: residentMiB(), heapMb: heaps(), load }));
  }
  await pool.destroy();
} finally {
  await product.child.stop();
  await origin.child.stop();
  rmSync(folder, { recursive: true, force: true });
}
