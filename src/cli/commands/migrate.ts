import { readFileSync } from "node:fs";
import process from "node:process";
import { defineCommand } from "citty";
import { z } from "zod";
import type { HealedWorkspaces } from "../../db/heal-workspaces.ts";
import { migrateControl, prepareClusterDatabase } from "../../db/migrate-control.ts";
import { migrateTenants } from "../../db/migrate-tenants.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { createOutput } from "../frame/output.ts";
import { inputWords } from "../../shared/input-words.ts";

const postgresUrl = z.url({ protocol: /^postgres(ql)?$/ });
/** Passwords travel as they are in SCRAM only if they are ASCII. */
const password = z.string().regex(/^[\x21-\x7e]{16,256}$/, "16 to 256 visible ASCII characters");

const settings = z.strictObject({
  databaseUrl: postgresUrl,
  rolePasswords: z.strictObject({
    causeway_console: password,
    causeway_provisioner: password,
    causeway_portal: password,
  }),
  /** Databases of clusters, to be prepared for tenants. */
  clusterDatabaseUrls: z.array(postgresUrl).max(100).default([]),
});

export default defineCommand({
  meta: {
    name: "migrate",
    description:
      "Bring the control database and the schemas of all tenants to the current level: service roles, schemas, grants. Safe to repeat",
  },
  args: {
    file: {
      type: "string",
      description:
        'JSON file { "databaseUrl", "rolePasswords": { "causeway_console", ... }, "clusterDatabaseUrls": [] }',
      valueHint: "file",
    },
    "database-url-env": {
      type: "string",
      description: "Name of the variable with the control database's URL: a direct connection as its owner",
      valueHint: "name",
      default: "CAUSEWAY_DATABASE_URL",
    },
    json: { type: "boolean", description: "One JSON object instead of text" },
  },
  async run({ args }) {
    const output = createOutput(args.json === true);
    const given =
      args.file === undefined ? fromEnvironment(args["database-url-env"], process.env) : fromFile(args.file);
    const parsed = settings.safeParse(given, { error: inputWords });
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new CliError(
        EXIT.usage,
        `${issue?.path.join(".") ?? "settings"}: ${issue?.message ?? "not valid"}`,
        "URLs and passwords come from --file, or from CAUSEWAY_DATABASE_URL, CAUSEWAY_CONSOLE_DB_PASSWORD, CAUSEWAY_PROVISIONER_DB_PASSWORD, CAUSEWAY_PORTAL_DB_PASSWORD, CAUSEWAY_CLUSTER_DATABASE_URLS (comma-separated).",
      );
    }
    const { databaseUrl, rolePasswords, clusterDatabaseUrls } = parsed.data;
    const onHealed = (healed: HealedWorkspaces): void =>
      output.data(
        { healed },
        `Mended: ${healed.duplicates} workspaces that were there twice, the default one of ${healed.defaults} tenants`,
      );
    const applied = await reachable(databaseUrl, () => migrateControl(databaseUrl, { rolePasswords, onHealed }));
    for (const url of clusterDatabaseUrls)
      await reachable(url, () =>
        prepareClusterDatabase(url, { provisionerPassword: rolePasswords.causeway_provisioner }),
      );
    const done = applied.length === 0 ? "Nothing to apply" : `Applied ${applied.join(", ")}`;
    const tenants = { tenants: 0, changed: 0, failed: 0, tookMs: 0 };
    for (const url of clusterDatabaseUrls) {
      const asProvisioner = new URL(url);
      asProvisioner.username = "causeway_provisioner";
      asProvisioner.password = encodeURIComponent(rolePasswords.causeway_provisioner);
      const migrated = await reachable(url, () =>
        migrateTenants(asProvisioner.href, (tenant) => {
          const { tenantId, applied: changes, error } = tenant;
          const text = error === null ? changes.join(", ") : `failed: ${error}`;
          output.data(tenant, `${tenantId}  ${text}`);
        }),
      );
      for (const key of ["tenants", "changed", "failed", "tookMs"] as const) tenants[key] += migrated[key];
    }
    const perSecond = tenants.tookMs === 0 ? 0 : Math.round((tenants.tenants * 1000) / tenants.tookMs);
    output.data(
      { applied, clusterDatabases: clusterDatabaseUrls.length, tenants: { ...tenants, perSecond } },
      `${done}; ${clusterDatabaseUrls.length} cluster databases prepared; ${tenants.tenants} tenants: ${tenants.changed} changed, ${tenants.failed} failed, ${perSecond} a second`,
    );
    if (tenants.failed > 0)
      throw new CliError(
        EXIT.failed,
        `${tenants.failed} tenants' schemas are not at the current level`,
        "The others are. Mend what the lines above say, then run it again: it goes on where it stopped.",
      );
  },
});

function fromEnvironment(urlVariable: string, env: NodeJS.ProcessEnv): unknown {
  return {
    databaseUrl: env[urlVariable],
    rolePasswords: {
      causeway_console: env["CAUSEWAY_CONSOLE_DB_PASSWORD"],
      causeway_provisioner: env["CAUSEWAY_PROVISIONER_DB_PASSWORD"],
      causeway_portal: env["CAUSEWAY_PORTAL_DB_PASSWORD"],
    },
    clusterDatabaseUrls: env["CAUSEWAY_CLUSTER_DATABASE_URLS"]?.split(",").filter((url) => url !== ""),
  };
}

function fromFile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new CliError(EXIT.usage, `${path} can't be read as JSON`, null, { cause });
  }
}

/** Connection troubles as what they are: the environment's or the credentials'. The URL's password is never shown. */
async function reachable<T>(url: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    const { hostname, port } = new URL(url);
    if (/^(ECONN|ENOTFOUND|ETIMEDOUT|CONNECT)/.test(code))
      throw new CliError(
        EXIT.environment,
        `PostgreSQL at ${hostname}:${port || "5432"} can't be reached (${code})`,
        null,
        {
          cause,
        },
      );
    if (code.startsWith("28"))
      throw new CliError(EXIT.authentication, `PostgreSQL at ${hostname}:${port || "5432"} refused the login`, null, {
        cause,
      });
    throw cause;
  }
}
