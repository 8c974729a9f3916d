import { defineCommand } from "citty";
import { z } from "zod";
import { operation, routes } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { readJsonFile } from "./json-file.ts";

export default defineCommand({
  meta: { name: "routes", description: "Show a tenant's routes, or replace all of them" },
  args: {
    name: { type: "positional", required: true, description: "slug, or slug@cluster" },
    set: {
      type: "string",
      description: "File with the new list (- for stdin), as --json prints it",
      valueHint: "file",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const path = `/tenants/${encodeURIComponent(args.name)}/routes`;
    const wanted = args.set === undefined ? null : readRoutes(args.set);
    const { api, output } = connectApi(args);
    if (wanted !== null) {
      const answer = await api.put(path, wanted, z.object({ operation }));
      await settle(api, output, answer.operation, args.wait === true);
    }
    const list = await api.get(path, routes);
    const rows = list.items.map(({ prefix, exact, access, to }) => [
      exact === true ? `${prefix} (exactly)` : prefix,
      access,
      `${to.kind} ${to.service ?? to.target ?? to.location ?? to.status ?? ""}`,
    ]);
    output.data(list, table(["PREFIX", "ACCESS", "TO"], rows));
  },
});

/** `{"items": [...]}` as --json prints it, or the list alone. What is in it the API checks. */
function readRoutes(file: string): unknown {
  const json = readJsonFile(file, "Start from: npx causeway tenant routes NAME --json");
  return Array.isArray(json) ? { items: json } : json;
}
