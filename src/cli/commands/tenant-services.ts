import { defineCommand } from "citty";
import { z } from "zod";
import { operation, services } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

const CHANGES = ["add", "remove", "stop", "start"] as const;
const serviceArg = (description: string) => ({ type: "string", description, valueHint: "service" }) as const;

export default defineCommand({
  meta: { name: "services", description: "Show a tenant's services, or change one" },
  args: {
    name: { type: "positional", required: true, description: "slug, or slug@cluster" },
    add: serviceArg("Give it this service of the catalogue, or its newest form"),
    remove: serviceArg("Take it away; its routes have to be gone"),
    stop: serviceArg("Switch it off without losing it: its routes answer 503"),
    start: serviceArg("Switch it on again"),
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const asked = CHANGES.flatMap((change) => {
      const service = args[change];
      return service === undefined ? [] : [{ change, service }];
    });
    if (asked.length > 1)
      throw new CliError(EXIT.usage, `One change at a time: ${asked.map(({ change }) => `--${change}`).join(" or ")}`);
    const path = `/tenants/${encodeURIComponent(args.name)}/services`;
    const { api, output } = connectApi(args);
    const started = z.object({ operation });
    for (const { change, service } of asked) {
      const at = `${path}/${encodeURIComponent(service)}`;
      const answer =
        change === "add"
          ? await api.put(at, {}, started)
          : change === "remove"
            ? await api.delete(at, started)
            : await api.post(`${at}/${change}`, {}, started);
      await settle(api, output, answer.operation, args.wait === true);
    }
    const list = await api.get(path, services);
    const rows = list.items.map(({ name, workspace, driver, protocol, status }) => [
      name,
      workspace,
      driver,
      protocol,
      status,
    ]);
    output.data(list, table(["SERVICE", "WORKSPACE", "DRIVER", "PROTOCOL", "STATUS"], rows));
  },
});
