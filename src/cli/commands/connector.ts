import { existsSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { defineCommand } from "citty";
import { z } from "zod";
import { createConnector } from "../api/create-connector.ts";
import { connector, operation } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { findLocalStack } from "../local/local-json.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

const nameArgs = {
  tenant: { type: "positional", required: true, description: "slug, or slug@cluster" },
  name: { type: "positional", required: true, description: "The connector's name, unique in the tenant" },
} as const;

const create = defineCommand({
  meta: {
    name: "create",
    description: "Register a connector: makes a key pair here, registers its public half, writes a credentials file",
  },
  args: {
    ...nameArgs,
    out: {
      type: "string",
      description: "Credentials file to write, mode 0600 (default: TENANT-NAME.credentials.json here)",
      valueHint: "file",
    },
    "relay-url": {
      type: "string",
      description: "Where the connector will dial (default: CAUSEWAY_RELAY_URL, else the local stack's relay)",
      valueHint: "url",
    },
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const file = resolve(args.out ?? `${args.tenant}-${args.name}.credentials.json`.replaceAll("/", "_"));
    if (existsSync(file))
      throw new CliError(
        EXIT.refused,
        `${file} is there already`,
        "Nothing was changed. Name another file with --out.",
      );
    const relayUrl = args["relay-url"] ?? process.env["CAUSEWAY_RELAY_URL"] ?? localRelayUrl(api.url);
    if (relayUrl === undefined || !URL.canParse(relayUrl)) {
      throw new CliError(EXIT.usage, "where is the relay?", "Give --relay-url, for example https://relay.example.com.");
    }
    const made = await createConnector(api, { tenant: args.tenant, name: args.name, relayUrl, file });
    await settle(api, output, made.operation, true);
    output.data({ ...made.connector, credentialsFile: file }, file);
    output.say("The file holds a private key: keep it as a password, and out of version control.");
    output.say(
      `Run it where the targets are: npx causeway connect --credentials ${file} --target NAME=http://HOST:PORT`,
    );
  },
});

/** The relay of the local stack, if that is the one that the API belongs to. */
function localRelayUrl(apiUrl: string): string | undefined {
  const local = findLocalStack(process.env, process.cwd());
  return local !== null && local.consoleUrl === apiUrl ? local.relayUrl : undefined;
}

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
      one.targets?.join(" ") ?? "any",
    ]);
    output.data({}, table(["TENANT", "CONNECTOR", "STATE", "TARGETS"], rows));
  },
});

const remove = defineCommand({
  meta: { name: "delete", description: "Remove a connector that is offline; its credentials are worthless then" },
  args: {
    ...nameArgs,
    force: { type: "boolean", description: "Really do it" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = (
      await api.list(
        `/connectors?tenant=${encodeURIComponent(args.tenant)}&q=${encodeURIComponent(args.name)}`,
        connector,
      )
    ).find((one) => one.name === args.name);
    if (found === undefined)
      throw new CliError(
        EXIT.failed,
        `${args.tenant} has no connector "${args.name}"`,
        "npx causeway connector list shows them.",
      );
    if (args.force !== true) {
      throw new CliError(
        EXIT.refused,
        `this removes the connector ${found.name} of ${found.tenant} for good`,
        "Nothing was changed. Repeat it with --force.",
      );
    }
    const answer = await api.delete(`/connectors/${encodeURIComponent(found.id)}`, z.object({ operation, connector }));
    await settle(api, output, answer.operation, args.wait === true);
    output.data(answer.connector, `${answer.connector.name} of ${answer.connector.tenant} is removed`);
  },
});

export default defineCommand({
  meta: { name: "connector", description: "Register, list and remove connectors" },
  subCommands: { create, list, delete: remove },
});
