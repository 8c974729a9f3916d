import process from "node:process";
import { defineCommand } from "citty";
import { z } from "zod";
import { createApiToken } from "../../db/api-tokens.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { createOutput, table } from "../frame/output.ts";
import { findLocalStack } from "../local/local-json.ts";
import { commonArgs, connectApi } from "./api.ts";
import { jsonArgs } from "./state.ts";

const MS_PER_DAY = 86_400_000;
const scopes = z.array(z.enum(["read", "write", "admin"])).min(1);
const days = z.coerce.number().int().min(1).max(3650);

const create = defineCommand({
  meta: {
    name: "create",
    description: "Make a token of the management API; it is printed once, only its hash is kept",
  },
  args: {
    name: { type: "positional", required: true, description: "Whose it is, or what for" },
    scopes: { type: "string", default: "read", description: "Comma-separated: read, write, admin" },
    "expires-days": { type: "string", description: "Days that it works (default: until revoked)", valueHint: "n" },
    ...jsonArgs,
  },
  async run({ args }) {
    const wanted = scopes.safeParse(args.scopes.split(","));
    if (!wanted.success) throw new CliError(EXIT.usage, `--scopes ${args.scopes}: a list of read, write, admin`);
    const lifetime = args["expires-days"] === undefined ? null : days.safeParse(args["expires-days"]);
    if (lifetime?.success === false) throw new CliError(EXIT.usage, "--expires-days is a number from 1 to 3650");
    const url = controlDatabaseUrl(process.env, process.cwd());
    if (url === undefined || !URL.canParse(url)) {
      throw new CliError(
        EXIT.usage,
        "where is the control database?",
        "Start the local stack (npx causeway up), or set CAUSEWAY_DATABASE_URL to it, as its owner.",
      );
    }
    const expiresAt = lifetime === null ? null : new Date(Date.now() + lifetime.data * MS_PER_DAY);
    const token = await written(() => createApiToken(url, { name: args.name, scopes: wanted.data, expiresAt }));
    const output = createOutput(args.json === true);
    output.data({ name: args.name, scopes: wanted.data, expiresAt: expiresAt?.toISOString() ?? null, token }, token);
    output.say("This is the only time it is shown. Programs take it from CAUSEWAY_API_TOKEN.");
  },
});

/** The local stack's, unless the environment says that commands are about another one. */
function controlDatabaseUrl(env: NodeJS.ProcessEnv, cwd: string): string | undefined {
  const given = env["CAUSEWAY_DATABASE_URL"];
  if (given !== undefined) return given;
  const local = findLocalStack(env, cwd);
  const isMeant = local !== null && (env["CAUSEWAY_API_URL"] ?? local.consoleUrl) === local.consoleUrl;
  return isMeant ? local.databaseUrl : undefined;
}

/** The database's errors may quote the URL with its password: only their code is passed on. */
async function written<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    throw new CliError(
      EXIT.environment,
      `the control database refused (${code})`,
      "Is CAUSEWAY_DATABASE_URL right, and the database migrated?",
    );
  }
}

const apiToken = z.looseObject({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});

const list = defineCommand({
  meta: { name: "list", description: "List the tokens of the management API; none is shown" },
  args: commonArgs,
  async run({ args }) {
    const { api, output } = connectApi(args);
    const tokens = await api.list("/tokens", apiToken);
    if (output.json) {
      for (const one of tokens) output.data(one, "");
      return;
    }
    const rows = tokens.map((one) => [one.id, one.name, one.scopes.join(", "), lifeOf(one)]);
    output.data({}, table(["ID", "NAME", "MAY", "STATE"], rows));
  },
});

function lifeOf({ revokedAt, expiresAt }: z.infer<typeof apiToken>): string {
  if (revokedAt !== null) return `revoked ${revokedAt}`;
  if (expiresAt === null) return "good until it is revoked";
  return `${Date.parse(expiresAt) <= Date.now() ? "expired" : "good until"} ${expiresAt}`;
}

const revoke = defineCommand({
  meta: { name: "revoke", description: "Revoke a token of the management API: it is refused from now on" },
  args: {
    id: { type: "positional", required: true, description: "Its id, as list shows it" },
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const revoked = await api.delete(`/tokens/${encodeURIComponent(args.id)}`, apiToken);
    output.data(revoked, `${revoked.id}  ${revoked.name}  ${lifeOf(revoked)}`);
  },
});

export default defineCommand({
  meta: { name: "token", description: "Tokens of the management API" },
  subCommands: { create, list, revoke },
});
