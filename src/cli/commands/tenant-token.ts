import { defineCommand } from "citty";
import { z } from "zod";
import { operation } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

const nameArg = {
  name: { type: "positional", required: true, description: "The tenant: slug, or slug@cluster" },
} as const;
const path = (name: string): string => `/tenants/${encodeURIComponent(name)}/tokens`;
const token = z.looseObject({
  id: z.string(),
  name: z.string(),
  prefixes: z.array(z.string()),
  write: z.boolean(),
  expiresAt: z.string().nullable(),
});

const create = defineCommand({
  meta: { name: "create", description: "Make a service token for a machine; it is printed this once" },
  args: {
    ...nameArg,
    label: { type: "string", required: true, description: "What to call it", valueHint: "name" },
    routes: { type: "string", default: "/", description: "Prefixes of the routes that it opens, with commas" },
    write: { type: "boolean", description: "It may change things, not only GET, HEAD and OPTIONS" },
    expires: { type: "string", description: "It opens nothing afterwards (default: never)", valueHint: "time" },
    ...commonArgs,
  },
  async run({ args }) {
    const expiresAt = args.expires === undefined ? null : timeOf(args.expires);
    const prefixes = args.routes.split(",").map((text) => text.trim());
    const { api, output } = connectApi(args);
    const body = { name: args.label, prefixes, write: args.write === true, expiresAt };
    const shown = z.object({ operation, token: token.extend({ secret: z.string() }) });
    const answer = await api.post(path(args.name), body, shown);
    // First: whatever happens next, nobody can show it again.
    output.data(answer.token, answer.token.secret);
    await settle(api, output, answer.operation, true);
    output.say("Keep it as a password: it is shown to nobody again. Use: Authorization: Bearer TOKEN");
  },
});

function timeOf(text: string): string {
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date.toISOString();
  throw new CliError(EXIT.usage, `${text} is no time`, "For example 2027-01-31T18:00:00Z.");
}

const list = defineCommand({
  meta: { name: "list", description: "List a tenant's service tokens; none is shown" },
  args: { ...nameArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { items } = await api.get(path(args.name), z.object({ items: z.array(token) }));
    if (output.json) {
      for (const one of items) output.data(one, "");
      return;
    }
    const rows = items.map((one) => [
      one.id,
      one.name,
      one.prefixes.join(" "),
      one.write ? "read, write" : "read",
      one.expiresAt ?? "never",
    ]);
    output.data({}, table(["ID", "NAME", "ROUTES", "MAY", "EXPIRES"], rows));
  },
});

const revoke = defineCommand({
  meta: { name: "revoke", description: "Revoke a service token: it opens nothing any more within 10 s" },
  args: {
    ...nameArg,
    id: { type: "positional", required: true, description: "Its id, as list shows it" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.delete(`${path(args.name)}/${encodeURIComponent(args.id)}`, z.object({ operation }));
    const done = await settle(api, output, answer.operation, args.wait === true);
    output.data(done, `the token ${args.id} is revoked`);
  },
});

export default defineCommand({
  meta: { name: "token", description: "Service tokens: what machines get into a tenant's routes by" },
  subCommands: { create, list, revoke },
});
