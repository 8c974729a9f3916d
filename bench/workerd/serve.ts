import { createRequire } from "node:module";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { type Child, startChild } from "../core/children.ts";
import { type ServedWorker, workerdConfig } from "./capnp.ts";

/** What workerd says on its control descriptor once a socket is open. */
const listenMessage = z.object({ event: z.literal("listen"), socket: z.string(), port: z.number() });

/** A running bare workerd. */
export interface Workerd {
  readonly child: Child;
  /** `http://127.0.0.1:<port>` of a Worker that listens. */
  readonly url: (worker: string) => string;
}

/** The binary itself: the package's own launcher would stay in between, and its CPU would be counted instead. */
export function workerdBinary(): string {
  const require = createRequire(import.meta.url);
  return z.object({ default: z.string() }).parse(require("workerd")).default;
}

/** Serves the Workers, whose bundles lie in `folder` already, until stopped. */
export async function serveWorkers(
  name: string,
  folder: string,
  workers: readonly ServedWorker[],
  engineFlags: readonly string[] = [],
): Promise<Workerd> {
  const file = join(folder, `${name}.capnp`);
  // It holds keys that are made for this run.
  const objects = join(folder, `${name}-objects`);
  await mkdir(objects);
  await writeFile(file, workerdConfig(workers, objects, engineFlags), { mode: 0o600 });
  const child = await startChild({
    name,
    folder,
    command: workerdBinary(),
    args: ["serve", "--control-fd=3", file],
    control: true,
  });
  const ports = new Map<string, number>();
  if (child.control !== null) {
    createInterface({ input: child.control }).on("line", (line) => {
      const listen = listenMessage.safeParse(JSON.parse(line));
      if (listen.success) ports.set(listen.data.socket, listen.data.port);
    });
  }
  const listening = workers.filter((worker) => worker.listens).map((worker) => worker.name);
  try {
    await child.until(() => (listening.every((worker) => ports.has(worker)) ? true : null));
  } catch (error) {
    await child.stop();
    throw error;
  }
  return { child, url: (worker) => `http://127.0.0.1:${ports.get(worker) ?? 0}` };
}
