import { defineCommand } from "citty";
import { z } from "zod";
import { addKey } from "../api/create-connector.ts";
import { connectorPath, findConnector } from "../api/find-connector.ts";
import { connector, operation } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { credentialsArgs, credentialsTarget, nameArgs } from "./connector-args.ts";

const keys = z.object({
  items: z.array(z.looseObject({ kid: z.string(), key: z.looseObject({ kty: z.string() }), createdAt: z.string() })),
});

const add = defineCommand({
  meta: { name: "add", description: "Make a key pair and write it into a credentials file; the others stay good" },
  args: { ...nameArgs, ...credentialsArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { tenant, name } = args;
    const target = credentialsTarget(args, api.url);
    const { keyId, ...answer } = await addKey(api, await findConnector(api, tenant, name), { tenant, name, ...target });
    await settle(api, output, answer.operation, true);
    output.data({ kid: keyId, credentialsFile: target.file }, target.file);
    output.say("The file holds a private key: keep it as a password, and out of version control.");
  },
});

const list = defineCommand({
  meta: { name: "list", description: "List the public keys that a connector proves itself by" },
  args: { ...nameArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    const { items } = await api.get(`${connectorPath(found)}/keys`, keys);
    if (output.json) {
      for (const one of items) output.data(one, "");
      return;
    }
    const rows = items.map((one) => [one.kid, one.key.kty === "OKP" ? "Ed25519" : "ES256", one.createdAt]);
    output.data({}, table(["ID", "KIND", "CREATED"], rows));
  },
});

const remove = defineCommand({
  meta: { name: "remove", description: "Remove a key: sockets that were proved with it end at once" },
  args: {
    ...nameArgs,
    id: { type: "positional", required: true, description: "The key's id, as list shows it" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    const at = `${connectorPath(found)}/keys/${encodeURIComponent(args.id)}`;
    const answer = await api.delete(at, z.object({ operation, connector }));
    await settle(api, output, answer.operation, args.wait === true);
    output.data(answer.connector, `the key ${args.id} is removed`);
  },
});

export default defineCommand({
  meta: { name: "key", description: "Add, list and remove keys of a connector" },
  subCommands: { add, list, remove },
});
