import { existsSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineCommand } from "citty";
import type { Api } from "../api/client.ts";
import { nodeEnrolment } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import type { Output } from "../frame/output.ts";
import { commonArgs, connectApi, settle } from "./api.ts";

const nameArg = { name: { type: "positional", required: true, description: "Name of the node" } } as const;
const outArg = {
  out: {
    type: "string",
    description: "File for the one-time token, mode 0600 (default: NAME.token here)",
    valueHint: "file",
  },
} as const;

/** Registers a machine; the token goes into a file, as all secrets do, for `causeway node enroll --token-file`. */
export const create = defineCommand({
  meta: { name: "create", description: "Register a node or a master, and write the one-time token that enrols it" },
  args: {
    ...nameArg,
    "envoy-url": {
      type: "string",
      required: true,
      description: "Where the edge reaches its Envoy, for example https://n1.example.com",
      valueHint: "url",
    },
    role: { type: "enum", options: ["node", "master"], default: "node", description: "What it is (docs/node.md)" },
    cluster: { type: "string", description: "Cluster (default: the default one)" },
    capacity: { type: "string", description: "Tenants that it has room for; required for a node", valueHint: "n" },
    label: {
      type: "string",
      description: "Labels with commas, for example dedicated=true,zone=a",
      valueHint: "key=value",
    },
    "masters-address": { type: "string", description: "host:port where masters reach it (default: nowhere)" },
    ...outArg,
    ...commonArgs,
  },
  async run({ args }) {
    const file = tokenFile(args);
    const isMaster = args.role === "master";
    if (!isMaster && !/^[1-9][0-9]{0,5}$/.test(args.capacity ?? ""))
      throw new CliError(EXIT.usage, "how many tenants has it room for?", "Give --capacity, for example 100.");
    const { api, output } = connectApi(args);
    const body = {
      name: args.name,
      role: args.role,
      envoyUrl: args["envoy-url"],
      ...(args.cluster !== undefined && { cluster: args.cluster }),
      ...(!isMaster && { capacity: Number(args.capacity) }),
      ...(args["masters-address"] !== undefined && { mastersAddress: args["masters-address"] }),
      labels: labelsOf(args.label),
    };
    await enrolment(api, output, "/nodes", body, file);
  },
});

export const token = defineCommand({
  meta: {
    name: "token",
    description: "Write another one-time token: the machine was lost, or the first one is too old",
  },
  args: { ...nameArg, ...outArg, ...commonArgs },
  async run({ args }) {
    const file = tokenFile(args);
    const { api, output } = connectApi(args);
    await enrolment(api, output, `/nodes/${encodeURIComponent(args.name)}/enrolments`, {}, file);
  },
});

function tokenFile(args: { readonly name: string; readonly out?: string | undefined }): string {
  const file = resolve(args.out ?? `${args.name}.token`.replaceAll("/", "_"));
  if (!existsSync(file)) return file;
  throw new CliError(EXIT.refused, `${file} is there already`, "Nothing was changed. Name another file with --out.");
}

async function enrolment(api: Api, output: Output, path: string, body: object, file: string): Promise<void> {
  // First, so that a folder that can't be written to costs no registration.
  writeFileSync(file, "", { mode: 0o600, flag: "wx" });
  let answer;
  try {
    answer = await api.post(path, body, nodeEnrolment);
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  }
  const { enrolmentToken, operation, ...about } = answer;
  writeFileSync(file, `${enrolmentToken}\n`);
  // The relay must know of the token before it is shown to it.
  await settle(api, output, operation, true);
  output.data({ ...about.node, enrolmentExpiresAt: about.enrolmentExpiresAt, tokenFile: file }, file);
  output.say(
    `The token works once, until ${about.enrolmentExpiresAt}. On the machine: causeway node enroll --url RELAY --token-file ${file}`,
  );
}

export function labelsOf(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  const pairs = text.split(",").map((one) => /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(one));
  return Object.fromEntries(
    pairs.map((pair) => {
      if (pair === null) throw new CliError(EXIT.usage, `--label ${text}: key=value, with commas`);
      return [pair[1], pair[2]];
    }),
  );
}
