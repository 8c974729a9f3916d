import { defineCommand } from "citty";
import { z } from "zod";
import { connectorPath, findConnector } from "../api/find-connector.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi } from "./api.ts";
import { nameArgs } from "./connector-args.ts";

const session = z.looseObject({
  instanceId: z.string(),
  lane: z.string(),
  onlineAt: z.string().nullable(),
  offlineAt: z.string().nullable(),
  reason: z.string().nullable(),
});

export default defineCommand({
  meta: { name: "sessions", description: "Show a connector's sockets, those that ended too, the newest first" },
  args: { ...nameArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    const { items } = await api.get(`${connectorPath(found)}/sessions`, z.object({ items: z.array(session) }));
    if (output.json) {
      for (const one of items) output.data(one, "");
      return;
    }
    const rows = items.map((one) => [
      one.instanceId,
      one.lane,
      one.onlineAt ?? "",
      one.offlineAt ?? (one.onlineAt === null ? "" : "online"),
      one.reason ?? "",
    ]);
    output.data({}, table(["INSTANCE", "LANE", "FROM", "UNTIL", "WHY IT ENDED"], rows));
  },
});
