import { defineCommand } from "citty";
import { z } from "zod";
import { operation, tenant } from "../api/types.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { drainArg, drainSecondsOf } from "./drain-arg.ts";

export default defineCommand({
  meta: { name: "move", description: "Move a tenant to another node of its cluster, without a failed request" },
  args: {
    name: { type: "positional", required: true, description: "slug, or slug@cluster" },
    node: { type: "string", description: "Node (default: the other one with the most room)" },
    ...drainArg,
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { node } = args;
    const path = `/tenants/${encodeURIComponent(args.name)}`;
    const body = { drainSeconds: drainSecondsOf(args.drain), ...(node === undefined ? {} : { node }) };
    const answer = await api.post(`${path}/move`, body, z.object({ operation, tenant }));
    await settle(api, output, answer.operation, args.wait === true);
    const shown = args.wait === true ? await api.get(path, tenant) : answer.tenant;
    output.data(shown, `${shown.name}  ${shown.state}${shown.node === null ? "" : `  on ${shown.node}`}`);
  },
});
