import { join } from "node:path";
import { type Child, startChild } from "../core/children.ts";
import type { Path } from "../core/types.ts";
import { bundleWorker, serveWorkers } from "../workerd/serve.ts";
import type { ServedWorker } from "../workerd/capnp.ts";

/** Yardsticks run on the date of their own, so that a newer one of the product is not hidden by its yardstick getting faster too. */
const COMPATIBILITY_DATE = "2026-11-01";
const WORKERS = join(import.meta.dirname, "../workers");

/** The 128-byte origin in a process of its own. */
export async function startOrigin(folder: string): Promise<{ readonly child: Child; readonly url: string }> {
  const file = join(import.meta.dirname, "../processes/origin.ts");
  const child = await startChild({ name: "origin", folder, command: process.execPath, args: [file] });
  const port = await child.until(() => /^(\d+)\n/.exec(child.log())?.[1] ?? null);
  return { child, url: `http://127.0.0.1:${port}` };
}

const yardstick = (name: string, part: Partial<ServedWorker>): ServedWorker => ({
  name,
  bundle: `${name}.js`,
  compatibilityDate: COMPATIBILITY_DATE,
  compatibilityFlags: [],
  bindings: [],
  objectClasses: [],
  listens: true,
  ...part,
});

/** A bare proxy to `url`; `headers` are added to its requests, for example the proof that a node wants. */
export interface BareProxy {
  readonly key: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Null object and bare proxies, one workerd of their own. `url` takes "null-object" or a proxy's key. */
export async function startYardsticks(
  folder: string,
  proxies: readonly BareProxy[],
): Promise<{ readonly child: Child; url(key: string): string }> {
  await bundleWorker(join(WORKERS, "null-object.js"), join(folder, "null-object.js"));
  const nullObject = yardstick("null-object", {
    bindings: [{ kind: "objects", name: "NULL_OBJECT", className: "NullObject", service: "null-object" }],
    objectClasses: [{ className: "NullObject", sql: true }],
  });
  await bundleWorker(join(WORKERS, "bare-proxy.ts"), join(folder, "bare-proxy.js"));
  const bareProxies = proxies.map(({ key, url, headers }) =>
    yardstick(key, {
      bundle: "bare-proxy.js",
      bindings: [
        { kind: "text", name: "ORIGIN_URL", value: url },
        { kind: "json", name: "HEADERS", value: JSON.stringify(headers) },
      ],
    }),
  );
  return serveWorkers("yardsticks", folder, [nullObject, ...bareProxies]);
}

/** A yardstick as a path. `processes` in the order of the hops. */
export function yardstickPath(
  key: string,
  title: string,
  url: string,
  processes: Path["processes"],
  headers: Path["headers"] = {},
): Path {
  return { key, title, kind: "yardstick", url, headers, processes };
}
