import { defineCommand } from "citty";
import { z } from "zod";
import { connectorPath, findConnector } from "../api/find-connector.ts";
import { connector, operation } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { nameArgs } from "./connector-args.ts";
import { readJsonFile } from "./json-file.ts";

const state = z.object({
  revision: z.number(),
  config: z.record(z.string(), z.unknown()).nullable(),
  instances: z.array(
    z.object({
      instanceId: z.string(),
      lane: z.string(),
      revision: z.number().nullable(),
      applied: z.boolean(),
      reason: z.string().nullable(),
    }),
  ),
});

const push = defineCommand({
  meta: { name: "push", description: "Push a configuration of targets to all instances of a connector" },
  args: {
    ...nameArgs,
    file: { type: "positional", required: true, description: "JSON (docs/connector.md); - for stdin" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const config = readJsonFile(args.file, "See docs/connector.md for what a configuration looks like.");
    await put(args, config);
  },
});

const withdraw = defineCommand({
  meta: { name: "withdraw", description: "Take the pushed configuration back: its own files count again" },
  args: { ...nameArgs, ...waitArgs, ...commonArgs },
  run: ({ args }) => put(args, null),
});

async function put(
  args: {
    tenant: string;
    name: string;
    wait?: boolean | undefined;
    json?: boolean | undefined;
    "api-url"?: string | undefined;
  },
  config: unknown,
): Promise<void> {
  const { api, output } = connectApi(args);
  const found = await findConnector(api, args.tenant, args.name);
  const answer = await api.put(`${connectorPath(found)}/config`, { config }, z.object({ operation, connector }));
  await settle(api, output, answer.operation, args.wait === true);
  output.data(answer.connector, config === null ? "withdrawn" : "pushed; config show tells what became of it");
}

const show = defineCommand({
  meta: { name: "show", description: "Show what was pushed, and what each live instance made of it" },
  args: { ...nameArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await findConnector(api, args.tenant, args.name);
    const answer = await api.get(`${connectorPath(found)}/config`, state);
    const rows = answer.instances.map((one) => [
      one.instanceId,
      one.lane,
      one.applied ? "applied" : one.reason === null ? "not yet" : `refused: ${one.reason}`,
    ]);
    const text = answer.config === null ? "nothing is pushed" : JSON.stringify(answer.config, null, 2);
    output.data(answer, `${text}\n\n${table(["INSTANCE", "LANE", `REVISION ${answer.revision}`], rows)}`);
  },
});

export default defineCommand({
  meta: { name: "config", description: "Push a configuration to a connector, and see what became of it" },
  subCommands: { push, withdraw, show },
});
