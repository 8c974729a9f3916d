import { readFileSync } from "node:fs";
import { defineCommand } from "citty";
import { z } from "zod";
import { operation } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { readJsonFile } from "./json-file.ts";
import { maintenanceArgs, maintenanceOf } from "./maintenance-args.ts";

const nameArg = { name: { type: "positional", required: true, description: "slug, or slug@cluster" } } as const;
const path = (name: string): string => `/tenants/${encodeURIComponent(name)}/policy`;
const started = z.object({ operation });
const policy = z.looseObject({ password: z.boolean() });

export const policyCommand = defineCommand({
  meta: {
    name: "policy",
    description: "Show a tenant's rules for visitors (networks, CORS, rates, ...), or change them",
  },
  args: {
    ...nameArg,
    set: {
      type: "string",
      description: "File with what to change (- for stdin): what it names is replaced, null takes it away",
      valueHint: "file",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const wanted =
      args.set === undefined ? null : readJsonFile(args.set, "Start from: npx causeway tenant policy NAME --json");
    const { api, output } = connectApi(args);
    if (wanted !== null) {
      const answer = await api.patch(path(args.name), withoutShown(wanted), started);
      await settle(api, output, answer.operation, args.wait === true);
    }
    const shown = await api.get(path(args.name), policy);
    output.data(shown, JSON.stringify(shown, null, 2));
  },
});

/** What --json prints says only whether there is a password; sent back it changes nothing about it. */
function withoutShown(wanted: unknown): unknown {
  if (typeof wanted !== "object" || wanted === null || !("password" in wanted)) return wanted;
  const { password, ...rest } = wanted;
  return typeof password === "boolean" ? rest : wanted;
}

export const passwordCommand = defineCommand({
  meta: { name: "password", description: "Set the password of routes with access password, or take it away" },
  args: {
    ...nameArg,
    file: { type: "string", description: "File with it (- for stdin): one line", valueHint: "file" },
    clear: { type: "boolean", description: "Take it away: nobody gets in by it any more" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    if ((args.file === undefined) === (args.clear !== true))
      throw new CliError(EXIT.usage, "say --file FILE or --clear", "For example: --file - reads it from stdin.");
    const password = args.file === undefined ? null : readLine(args.file);
    const { api, output } = connectApi(args);
    const answer = await api.patch(path(args.name), { password }, started);
    const done = await settle(api, output, answer.operation, args.wait === true);
    output.data(done, password === null ? "there is no visitor password any more" : "the visitor password is set");
  },
});

/** Not an argument: everybody on the machine could read it there. */
function readLine(file: string): string {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new CliError(EXIT.usage, `${file} can't be read`, undefined, { cause });
  }
  return text.replace(/\r?\n$/, "");
}

export const maintenanceCommand = defineCommand({
  meta: { name: "maintenance", description: "Show visitors a maintenance page instead of the tenant, or end that" },
  args: { ...nameArg, ...maintenanceArgs, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const maintenance = maintenanceOf(args);
    const { api, output } = connectApi(args);
    const answer = await api.patch(path(args.name), { maintenance }, started);
    const done = await settle(api, output, answer.operation, args.wait === true);
    output.data(done, `maintenance is ${args.switch}`);
  },
});
