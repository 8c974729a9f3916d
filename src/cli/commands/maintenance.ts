import { defineCommand } from "citty";
import { z } from "zod";
import type { Api } from "../api/client.ts";
import { operation } from "../api/types.ts";
import type { Output } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { maintenanceArgs, maintenanceOf } from "./maintenance-args.ts";

const changed = z.object({ operation });
const notice = z.object({
  maintenance: z
    .looseObject({ message: z.string(), retryAfterSeconds: z.number(), allow: z.array(z.string()) })
    .nullable(),
});

/** `cluster`: null for the whole platform. */
const pathOf = (cluster: string | null): string =>
  cluster === null ? "/maintenance" : `/clusters/${encodeURIComponent(cluster)}/maintenance`;
const nameOf = (cluster: string | null): string => (cluster === null ? "the whole platform" : `cluster ${cluster}`);

export default defineCommand({
  meta: {
    name: "maintenance",
    description: "Show all visitors, or those of a cluster, a maintenance page, end that, or say how it is",
  },
  args: {
    ...maintenanceArgs,
    switch: { type: "positional", required: false, default: "show", description: "on, off, or show (the default)" },
    cluster: { type: "string", description: "Of this cluster's tenants only; default: the whole platform" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    if (args.switch === "show") {
      const { api, output } = connectApi(args);
      return await show(api, output, args.cluster);
    }
    const wanted = maintenanceOf(args);
    const { api, output } = connectApi(args);
    const path = pathOf(args.cluster ?? null);
    const answer = wanted === null ? await api.delete(path, changed) : await api.put(path, wanted, changed);
    const done = await settle(api, output, answer.operation, args.wait === true);
    output.data(done, `maintenance of ${args.cluster ?? "the whole platform"} is ${args.switch}`);
  },
});

/** A line each: the platform and all clusters, or the one that is named. */
async function show(api: Api, output: Output, only: string | undefined): Promise<void> {
  const clusters = only === undefined ? await api.list("/clusters", z.looseObject({ name: z.string() })) : [];
  for (const cluster of only === undefined ? [null, ...clusters.map(({ name }) => name)] : [only]) {
    const { maintenance } = await api.get(pathOf(cluster), notice);
    const through =
      maintenance === null || maintenance.allow.length === 0 ? "" : `  but for ${maintenance.allow.join(" ")}`;
    const state = maintenance === null ? "off" : `on  "${maintenance.message}"${through}`;
    output.data({ cluster, maintenance }, `${nameOf(cluster)}: ${state}`);
  }
}
