import { defineCommand } from "citty";
import { z } from "zod";
import { writeSecretFile } from "../api/create-connector.ts";
import { connectorPath, findConnector } from "../api/find-connector.ts";
import { connector, operation, shownSecret } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { credentialsArgs, credentialsTarget, nameArgs } from "./connector-args.ts";

const started = z.object({ operation, connector });
const secrets = z.object({
  items: z.array(
    z.looseObject({
      id: z.string(),
      label: z.string(),
      secret: z.string(),
      expiresAt: z.string().nullable(),
      lastUsedAt: z.string().nullable(),
      createdAt: z.string(),
    }),
  ),
});

const add = defineCommand({
  meta: { name: "add", description: "Add a client secret and write it into a credentials file; the others stay good" },
  args: {
    ...nameArgs,
    label: { type: "string", description: "What to call it in lists", default: "secret" },
    expires: { type: "string", description: "No token is given for it afterwards (default: never)", valueHint: "time" },
    ...credentialsArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { tenant, name, label } = args;
    const target = credentialsTarget(args, api.url);
    const found = await findConnector(api, tenant, name);
    const expiresAt = args.expires === undefined ? null : timeOf(args.expires);
    const body = { label, expiresAt };
    const answer = await api.post(`${connectorPath(found)}/secrets`, body, started.extend({ secret: shownSecret }));
    const { secret, ...about } = answer.secret;
    writeSecretFile({ tenant, name, ...target }, secret);
    await settle(api, output, answer.operation, true);
    output.data({ ...about, credentialsFile: target.file }, target.file);
    output.say("The file holds the secret, which is shown to nobody again: keep it as a password.");
  },
});

function timeOf(text: string): string {
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date.toISOString();
  throw new CliError(EXIT.usage, `${text} is no time`, "For example 2027-01-31T18:00:00Z.");
}

const list = defineCommand({
  meta: { name: "list", description: "List a connector's client secrets; none is shown" },
  args: { ...nameArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    const { items } = await api.get(`${connectorPath(found)}/secrets`, secrets);
    if (output.json) {
      for (const one of items) output.data(one, "");
      return;
    }
    const rows = items.map((one) => [
      one.id,
      one.label,
      one.secret,
      one.expiresAt ?? "never",
      one.lastUsedAt ?? "never",
      one.createdAt,
    ]);
    output.data({}, table(["ID", "LABEL", "SECRET", "EXPIRES", "LAST USED", "CREATED"], rows));
  },
});

const remove = defineCommand({
  meta: { name: "remove", description: "Remove a client secret: sockets that were proved with it end at once" },
  args: {
    ...nameArgs,
    id: { type: "positional", required: true, description: "The secret's id, as list shows it" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    const answer = await api.delete(`${connectorPath(found)}/secrets/${encodeURIComponent(args.id)}`, started);
    await settle(api, output, answer.operation, args.wait === true);
    output.data(answer.connector, `the secret ${args.id} is removed`);
  },
});

export default defineCommand({
  meta: { name: "secret", description: "Add, list and remove client secrets of a connector" },
  subCommands: { add, list, remove },
});
