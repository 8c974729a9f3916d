import { defineCommand } from "citty";
import { z } from "zod";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi } from "./api.ts";
import { readJsonFile } from "./json-file.ts";

const entry = z.looseObject({
  name: z.string(),
  driver: z.looseObject({
    kind: z.string(),
    command: z.string().optional(),
    image: z.string().optional(),
    address: z.string().optional(),
    port: z.number().optional(),
  }),
  protocol: z.string(),
  needsSchema: z.boolean(),
  isDefault: z.boolean(),
  routes: z.array(z.looseObject({ prefix: z.string() })),
});

export default defineCommand({
  meta: { name: "services", description: "Show what a cluster's nodes can run for tenants, or change one of it" },
  args: {
    name: { type: "positional", required: true, description: "Name of the cluster" },
    set: { type: "string", description: "Say what this service is, with --file; it may be new", valueHint: "service" },
    file: {
      type: "string",
      description: "What it is (- for stdin): an entry as --json prints it, at least its driver",
      valueHint: "file",
    },
    remove: { type: "string", description: "Offer it no longer; tenants that have it keep it", valueHint: "service" },
    ...commonArgs,
  },
  async run({ args }) {
    const { set, file, remove } = args;
    if ((set === undefined) !== (file === undefined) || (set !== undefined && remove !== undefined))
      throw new CliError(EXIT.usage, "one change at a time", "Give --set SERVICE --file FILE, or --remove SERVICE.");
    const wanted = file === undefined ? null : readEntry(file);
    const { api, output } = connectApi(args);
    const path = `/clusters/${encodeURIComponent(args.name)}/services`;
    if (set !== undefined) await api.put(`${path}/${encodeURIComponent(set)}`, wanted, entry);
    if (remove !== undefined) await api.delete(`${path}/${encodeURIComponent(remove)}`, entry);
    const list = await api.get(path, z.object({ items: z.array(entry) }));
    const rows = list.items.map((one) => [
      one.name,
      driverText(one.driver),
      one.protocol,
      one.isDefault ? "yes" : "",
      one.needsSchema ? "yes" : "",
      one.routes.map(({ prefix }) => prefix).join(" "),
    ]);
    output.data(list, table(["SERVICE", "DRIVER", "PROTOCOL", "DEFAULT", "DATABASE", "ROUTES"], rows));
  },
});

const driverText = ({ kind, command, image, address, port }: z.infer<typeof entry>["driver"]): string =>
  `${kind} ${command ?? image ?? `${address ?? ""}:${port ?? ""}`}`;

/** Its name is the flag's. What else is in it the API checks. */
function readEntry(file: string): unknown {
  const json = readJsonFile(file, 'For example {"driver": {"kind": "process", "command": "app"}}.');
  if (typeof json !== "object" || json === null) return json;
  return Object.fromEntries(Object.entries(json).filter(([key]) => key !== "name"));
}
