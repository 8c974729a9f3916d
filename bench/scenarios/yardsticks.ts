import { join } from "node:path";
import { bundleWorker } from "../../src/cli/workers/bundle.ts";
import { type Child, startChild } from "../core/children.ts";
import type { CountedProcess, Path } from "../core/types.ts";
import type { ServedWorker } from "../workerd/capnp.ts";
import { serveWorkers } from "../workerd/serve.ts";

/** The yardsticks' own, so that a later date of the product's Workers shows as a difference instead of moving both. */
const COMPATIBILITY_DATE = "2026-11-01";
export const BENCH_WORKERS = join(import.meta.dirname, "../workers");

/** Something that a path runs through: how to reach it, how to stop it, whose CPU to count. */
export interface Hop {
  readonly child: Child;
  readonly counted: CountedProcess;
  readonly url: string;
}

/** The 128-byte origin in a process of its own: it plays the tenant's service or the on-premises target. */
export async function startOrigin(folder: string): Promise<Hop> {
  const file = join(import.meta.dirname, "../processes/origin.ts");
  const child = await startChild({ name: "origin", folder, command: process.execPath, args: [file] });
  const port = await child.until(() => /^(\d+)\n/.exec(child.log())?.[1] ?? null);
  return { child, counted: { name: "origin", pid: child.pid }, url: `http://127.0.0.1:${port}` };
}

/** One of our small Workers as workerd serves it; its bundle must lie in the folder `<name>` already. */
export function benchWorker(name: string, part: Partial<ServedWorker> = {}): ServedWorker {
  return {
    name,
    bundle: `${name}/worker.js`,
    compatibilityDate: COMPATIBILITY_DATE,
    compatibilityFlags: [],
    bindings: [],
    objectClasses: [],
    listens: true,
    ...part,
  };
}

/** The null object, and a bare proxy for each given origin: in one workerd, apart from the product's. */
export async function startYardsticks(
  folder: string,
  proxies: Readonly<Record<string, string>>,
): Promise<{ readonly child: Child; readonly hop: (key: string) => Hop }> {
  await bundleWorker(join(BENCH_WORKERS, "null-object.js"), join(folder, "null-object"));
  await bundleWorker(join(BENCH_WORKERS, "bare-proxy.ts"), join(folder, "bare-proxy"));
  const nullObject = benchWorker("null-object", {
    bindings: [{ kind: "objects", name: "NULL_OBJECT", className: "NullObject", service: "null-object" }],
    objectClasses: [{ className: "NullObject", sql: true }],
  });
  const bareProxies = Object.entries(proxies).map(([key, origin]) =>
    benchWorker(key, {
      bundle: "bare-proxy/worker.js",
      bindings: [{ kind: "text", name: "ORIGIN_URL", value: origin }],
    }),
  );
  const { child, url } = await serveWorkers("yardsticks", folder, [nullObject, ...bareProxies]);
  return { child, hop: (key) => ({ child, counted: { name: "workerd", pid: child.pid }, url: url(key) }) };
}

/** What bulk on workerd is held to while small requests are measured beside it: a third of what it moves alone. */
const WORKERD_BULK_PACE = 50e6;

const NO_HEADERS = async (): Promise<Record<string, string>> => ({});

/** A path that starts at the first hop. `hops` are all processes that it runs through, in order. */
export function pathThrough(
  hops: readonly [Hop, ...Hop[]],
  about: Pick<Path, "key" | "title" | "kind"> & Partial<Pick<Path, "headers">> & { readonly path?: string },
): Path {
  const { key, title, kind, headers = NO_HEADERS, path = "/" } = about;
  return {
    key,
    title,
    kind,
    url: hops[0].url + path,
    headers,
    processes: hops.map((hop) => hop.counted),
    originUrl: hops.at(-1)?.url ?? "",
    bulkPaceBytesPerSecond: WORKERD_BULK_PACE,
  };
}
