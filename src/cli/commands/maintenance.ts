import { defineCommand } from "citty";
import { z } from "zod";
import { operation } from "../api/types.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { maintenanceArgs, maintenanceOf } from "./maintenance-args.ts";

const changed = z.object({ operation });

export default defineCommand({
  meta: {
    name: "maintenance",
    description: "Show all visitors, or those of a cluster, a maintenance page, or end that",
  },
  args: {
    ...maintenanceArgs,
    cluster: { type: "string", description: "Of this cluster's tenants only; default: the whole platform" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const notice = maintenanceOf(args);
    const { api, output } = connectApi(args);
    const path =
      args.cluster === undefined ? "/maintenance" : `/clusters/${encodeURIComponent(args.cluster)}/maintenance`;
    const answer = notice === null ? await api.delete(path, changed) : await api.put(path, notice, changed);
    const done = await settle(api, output, answer.operation, args.wait === true);
    output.data(done, `maintenance of ${args.cluster ?? "the whole platform"} is ${args.switch}`);
  },
});
