import { defineCommand } from "citty";
import { z } from "zod";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi } from "./api.ts";

const event = z.looseObject({
  at: z.string(),
  actor: z.string(),
  action: z.string(),
  subjectId: z.string(),
  details: z.record(z.string(), z.unknown()),
});

export default defineCommand({
  meta: { name: "audit", description: "Show who changed what, the newest first" },
  args: {
    tenant: { type: "string", description: "Only what concerns this tenant" },
    action: { type: "string", description: "Only this action, for example tenant.suspend" },
    subject: { type: "string", description: "Only what was done to this id (ten_, nod_, con_, tok_, ...)" },
    limit: { type: "string", default: "50", description: "How many, the newest of them", valueHint: "number" },
    ...commonArgs,
  },
  async run({ args }) {
    const query = new URLSearchParams({ limit: args.limit });
    for (const name of ["tenant", "action", "subject"] as const) {
      const value = args[name];
      if (value !== undefined) query.set(name, value);
    }
    const { api, output } = connectApi(args);
    const { items } = await api.get(`/audit?${query.toString()}`, z.object({ items: z.array(event) }));
    if (output.json) {
      for (const one of items) output.data(one, "");
      return;
    }
    const rows = items.map((one) => [one.at, one.actor, one.action, one.subjectId, JSON.stringify(one.details)]);
    output.data({}, table(["AT", "WHO", "WHAT", "OF", "DETAILS"], rows));
  },
});
