import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { unstable_readConfig as readWranglerConfig } from "wrangler";
import { z } from "zod";
import { bundleWorker } from "../../src/cli/workers/bundle.ts";
import { configPath, WORKERS } from "../../src/cli/workers/list.ts";
import { CliError, EXIT } from "../../src/cli/frame/exit.ts";
import { fromWrangler } from "../workerd/from-wrangler.ts";
import { serveWorkers } from "../workerd/serve.ts";
import { type BenchKey, newKey } from "./keys.ts";
import { BENCH_WORKERS, benchWorker, type Hop } from "./yardsticks.ts";

/** The Workers that measured requests run through; whatever else they bind to is stood in for. */
const SERVED = ["causeway-relay-control", "causeway-relay-a", "causeway-relay-b", "causeway-edge"];
const STAND_IN = "stand-in";
export const BASE_DOMAIN = "causeway.localhost";

/** A call of a data-plane object's method, as the control plane would do it. `namespace` is a binding of the edge's wrangler.toml. */
export interface ObjectCall {
  readonly namespace: "DIRECTORY" | "LANE_A" | "LANE_B";
  readonly name: string;
  readonly method: string;
  readonly args: readonly unknown[];
}

/** The product's data plane on bare workerd: edge and relay, no control plane. */
export interface Product extends Hop {
  /** Signs the proofs that nodes want. */
  readonly proofKey: BenchKey;
  /** One after another; rejects when one does. */
  readonly call: (calls: readonly ObjectCall[]) => Promise<unknown[]>;
}

/** `over`: variables over those of the wrangler files. `engineFlags`: of V8. */
export async function startProduct(
  folder: string,
  over: Readonly<Record<string, string>> = {},
  engineFlags: readonly string[] = [],
): Promise<Product> {
  const proofKey = await newKey("bench-edge");
  const settings = {
    BASE_DOMAINS: BASE_DOMAIN,
    PROOF_PRIVATE_KEY: JSON.stringify(proofKey.private),
    PROOF_PUBLIC_KEYS: JSON.stringify({ keys: [proofKey.public] }),
    RELAY_TOKEN_KEY: randomBytes(32).toString("base64"),
    ...over,
  };
  const workers = await Promise.all(
    WORKERS.filter((worker) => SERVED.includes(worker.name)).map(async (worker) => {
      const config = readWranglerConfig({ config: configPath(worker) });
      const outDir = join(folder, worker.name);
      await mkdir(outDir, { recursive: true });
      await bundleWorker(config.main ?? "", outDir);
      return fromWrangler(config, {
        bundle: `${worker.name}/worker.js`,
        settings,
        served: SERVED,
        standIn: STAND_IN,
        listens: worker.name === "causeway-edge",
      });
    }),
  );
  for (const name of ["bootstrap", STAND_IN]) await bundleWorker(join(BENCH_WORKERS, `${name}.ts`), join(folder, name));
  const bootstrap = benchWorker("bootstrap", {
    bindings: [
      { kind: "objects", name: "DIRECTORY", className: "Directory", service: "causeway-relay-control" },
      { kind: "objects", name: "LANE_A", className: "Lane", service: "causeway-relay-a" },
      { kind: "objects", name: "LANE_B", className: "Lane", service: "causeway-relay-b" },
    ],
  });
  const served = [...workers, bootstrap, benchWorker(STAND_IN, { listens: false })];
  const { child, url } = await serveWorkers("product", folder, served, engineFlags);
  return {
    child,
    counted: { name: "workerd", pid: child.pid },
    url: url("causeway-edge"),
    proofKey,
    async call(calls) {
      const response = await fetch(url("bootstrap"), { method: "POST", body: JSON.stringify(calls) });
      const text = await response.text();
      if (!response.ok)
        throw new CliError(EXIT.failed, `Setting up the product's objects failed: ${text}\n${child.log()}`);
      return z.array(z.unknown()).parse(JSON.parse(text));
    },
  };
}
