import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";

/** One Worker without objects or queues on a real workerd, on a free loopback port; its `fetch` really goes out (the test harness's doesn't). */
export async function startWorker(entry: string, bindings: Record<string, string>): Promise<Miniflare> {
  const bundle = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    conditions: ["workerd", "worker"],
    external: ["node:*", "cloudflare:*"],
  });
  const contents = bundle.outputFiles[0]?.text ?? "";
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      workers: [
        {
          name: "worker",
          modules: [{ type: "ESModule", path: "worker.js", contents }],
          compatibilityDate: "2026-11-01",
          bindings,
        },
      ],
    }),
  );
  await miniflare.ready;
  return miniflare;
}
