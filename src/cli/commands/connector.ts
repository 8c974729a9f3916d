import { defineCommand } from "citty";
import { z } from "zod";
import { createConnector } from "../api/create-connector.ts";
import { connectorPath, findConnector } from "../api/find-connector.ts";
import { connector, operation } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { credentialsArgs, credentialsTarget, nameArgs } from "./connector-args.ts";
import config from "./connector-config.ts";
import key from "./connector-key.ts";
import secret from "./connector-secret.ts";
import sessions from "./connector-sessions.ts";

const started = z.object({ operation, connector });

const create = defineCommand({
  meta: {
    name: "create",
    description:
      "Register a connector and write its credentials file: a key pair that is made here, or a client secret",
  },
  args: {
    ...nameArgs,
    secret: { type: "boolean", description: "Make a client secret instead of a key pair" },
    ...credentialsArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { tenant, name } = args;
    const { file, relayUrl } = credentialsTarget(args, api.url);
    const made = await createConnector(api, {
      tenant,
      name,
      relayUrl,
      file,
      kind: args.secret === true ? "secret" : "key",
    });
    await settle(api, output, made.operation, true);
    output.data({ ...made.connector, credentialsFile: file }, file);
    output.say(
      `The file holds a ${args.secret === true ? "secret" : "private key"}: keep it as a password, and out of version control.`,
    );
    output.say(
      `Run it where the targets are: npx causeway connect --credentials ${file} --target NAME=http://HOST:PORT`,
    );
  },
});

const list = defineCommand({
  meta: { name: "list", description: "List connectors" },
  args: { tenant: { type: "positional", required: false, description: "Only this tenant's" }, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const only = args.tenant === undefined ? "" : `?tenant=${encodeURIComponent(args.tenant)}`;
    const found = await api.list(`/connectors${only}`, connector);
    if (output.json) {
      for (const one of found) output.data(one, "");
      return;
    }
    const rows = found.map((one) => [
      one.tenant,
      one.name,
      one.disabled ? "disabled" : one.state,
      String(one.instances),
      provenBy(one.credentials),
      one.lastLoginAt ?? "never",
      one.targets?.join(" ") ?? "any",
    ]);
    const header = ["TENANT", "CONNECTOR", "STATE", "INSTANCES", "PROVES ITSELF BY", "LAST LOGIN", "TARGETS"];
    output.data({}, table(header, rows));
  },
});

/** For people: which kinds of credentials there are, never one of them. */
function provenBy({ keys, secrets, issuerSubject }: z.infer<typeof connector>["credentials"]): string {
  const kinds = [
    ...(keys > 0 ? [`${keys} key${keys > 1 ? "s" : ""}`] : []),
    ...(secrets > 0 ? [`${secrets} secret${secrets > 1 ? "s" : ""}`] : []),
    ...(issuerSubject === null ? [] : ["issuer"]),
  ];
  return kinds.join(", ") || "nothing";
}

const set = defineCommand({
  meta: { name: "set", description: "Change what a connector may do: lock it, make it read-only, give it an end" },
  args: {
    ...nameArgs,
    disabled: { type: "boolean", description: "Lock it: its sockets end; --no-disabled unlocks it" },
    "read-only": { type: "boolean", description: "Send it only GET, HEAD and OPTIONS; --no-read-only ends that" },
    expires: { type: "string", description: "It leaves then and is refused afterwards; or never", valueHint: "time" },
    "issuer-subject": {
      type: "string",
      description: "Subject that an outside issuer of the tenant gives it; or none",
      valueHint: "subject",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    const change = {
      ...(args.disabled !== undefined && { disabled: args.disabled }),
      ...(args["read-only"] !== undefined && { readOnly: args["read-only"] }),
      ...(args.expires !== undefined && { expiresAt: timeOrNull(args.expires) }),
      ...(args["issuer-subject"] !== undefined && {
        issuerSubject: args["issuer-subject"] === "none" ? null : args["issuer-subject"],
      }),
    };
    if (Object.keys(change).length === 0)
      throw new CliError(EXIT.usage, "nothing to change", "Give one of the flags; --help lists them.");
    const answer = await api.patch(connectorPath(found), change, started);
    await settle(api, output, answer.operation, args.wait === true);
    output.data(answer.connector, `${answer.connector.name} of ${answer.connector.tenant} is changed`);
  },
});

/** "never": null. */
function timeOrNull(text: string): string | null {
  if (text === "never") return null;
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date.toISOString();
  throw new CliError(EXIT.usage, `${text} is no time`, "For example 2027-01-31T18:00:00Z, or never.");
}

const kick = defineCommand({
  meta: { name: "kick", description: "End a connector's live sockets; it may dial again at once" },
  args: {
    ...nameArgs,
    instance: { type: "string", description: "Only this instance (default: all)", valueHint: "id" },
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    const body = { instanceId: args.instance ?? null };
    const answer = await api.post(`${connectorPath(found)}/kick`, body, z.object({ ended: z.number() }));
    output.data(answer, `${answer.ended} socket${answer.ended === 1 ? "" : "s"} ended`);
  },
});

const remove = defineCommand({
  meta: { name: "delete", description: "Remove a connector; its credentials are worthless then" },
  args: {
    ...nameArgs,
    force: { type: "boolean", description: "Really do it, also while it is online" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    if (args.force !== true) {
      const online = found.state === "online" ? ", which is online," : "";
      throw new CliError(
        EXIT.refused,
        `this removes the connector ${found.name} of ${found.tenant}${online} for good`,
        "Nothing was changed. Repeat it with --force.",
      );
    }
    const answer = await api.delete(`${connectorPath(found)}?force=true`, started);
    await settle(api, output, answer.operation, args.wait === true);
    output.data(answer.connector, `${answer.connector.name} of ${answer.connector.tenant} is removed`);
  },
});

export default defineCommand({
  meta: { name: "connector", description: "Register, list, change and remove connectors" },
  subCommands: { create, list, sessions, set, key, secret, config, kick, delete: remove },
});
