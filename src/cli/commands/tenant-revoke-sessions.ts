import { defineCommand } from "citty";
import { z } from "zod";
import { operation } from "../api/types.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

export default defineCommand({
  meta: {
    name: "revoke-sessions",
    description: "End the sessions of everybody, or of one person, on a tenant's hosts within 10 s",
  },
  args: {
    name: { type: "positional", required: true, description: "slug, or slug@cluster" },
    account: { type: "string", description: "Only this account's, as tenant member list shows it", valueHint: "id" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const path = `/tenants/${encodeURIComponent(args.name)}/sessions/revoke`;
    const body = args.account === undefined ? {} : { accountId: args.account };
    const answer = await api.post(path, body, z.object({ operation }));
    const shown = await settle(api, output, answer.operation, args.wait === true);
    output.data(shown, `sessions of ${args.account ?? "everybody"} on the hosts of ${args.name} are revoked`);
  },
});
