import { defineCommand } from "citty";
import { z } from "zod";
import { tenant } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi } from "./api.ts";

const workspace = z.looseObject({ id: z.string(), name: z.string(), isDefault: z.boolean(), createdAt: z.string() });

export default defineCommand({
  meta: { name: "workspaces", description: "Show a tenant's workspaces, or add one" },
  args: {
    name: { type: "positional", required: true, description: "slug, or slug@cluster" },
    multiple: { type: "boolean", description: "It may have more than the default one; --no-multiple ends that" },
    add: { type: "string", description: "Add one of this name", valueHint: "name" },
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const path = `/tenants/${encodeURIComponent(args.name)}`;
    if (args.multiple !== undefined) await api.patch(path, { multipleWorkspaces: args.multiple }, tenant);
    if (args.add !== undefined) await api.post(`${path}/workspaces`, { name: args.add }, workspace);
    const list = await api.get(`${path}/workspaces`, z.object({ items: z.array(workspace) }));
    const rows = list.items.map((one) => [one.name, one.isDefault ? "yes" : "", one.id, one.createdAt]);
    output.data(list, table(["WORKSPACE", "DEFAULT", "ID", "CREATED"], rows));
  },
});
