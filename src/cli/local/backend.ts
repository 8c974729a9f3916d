import { execFile } from "node:child_process";
import { execPath } from "node:process";
import { promisify } from "node:util";
import { createApiToken } from "../../db/api-tokens.ts";
import { migrateControl, prepareClusterDatabase } from "../../db/migrate-control.ts";
import { DEMO_SERVICES, seedCluster } from "../../db/seed.ts";
import { type Api, createApi } from "../api/client.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { BASE_DOMAIN, type StackContext, consoleUrl } from "./context.ts";
import { writeJson } from "./files.ts";
import { COMPILE_CACHE, PACKAGE_ROOT } from "./paths.ts";
import { CLUSTER_DATABASE, CONTROL_DATABASE, type PostgresUrls, createDatabases, preparePostgres } from "./postgres.ts";
import { probe } from "./probe.ts";
import { step } from "./progress.ts";
import { publicHalf } from "./secrets.ts";
import { traceEnvironment } from "./trace-environment.ts";
import { type WorkersConfig, workersMessage } from "./workers-config.ts";

/** Postgres with its data, and all Workers on top of it. Answers the management API, ready to be used, and where the databases are. */
export async function startBackend(context: StackContext): Promise<{ api: Api; postgres: PostgresUrls }> {
  const bundled = step(context.report, "bundle", () => bundleWorkers(context));
  bundled.catch(() => {}); // Awaited below; until then a failure is not "unhandled".
  const postgres = await step(context.report, "postgres", () => startPostgres(context));
  const token = await step(context.report, "database", () => prepareDatabases(context, postgres));
  await bundled;
  await step(context.report, "workers", () => startWorkers(context, postgres));
  return { api: createApi({ url: consoleUrl(context), token }), postgres };
}

async function startPostgres(context: StackContext): Promise<PostgresUrls> {
  const { upstream, paths, secrets, supervisor } = context;
  if (upstream.kind === "compose") return upstream.containers.startPostgres(context);
  const port = context.usePort("postgres");
  const local = await preparePostgres(paths.dir, upstream.postgres, port, secrets.superuserPassword);
  await supervisor.start(local.spec);
  return local;
}

async function prepareDatabases(context: StackContext, local: PostgresUrls): Promise<string> {
  const { secrets } = context;
  const control = local.url(CONTROL_DATABASE);
  await createDatabases(local);
  await migrateControl(control, { rolePasswords: secrets.rolePasswords });
  await prepareClusterDatabase(local.url(CLUSTER_DATABASE), {
    provisionerPassword: secrets.rolePasswords.causeway_provisioner,
  });
  await seedCluster(control, {
    name: "default",
    baseDomains: [BASE_DOMAIN],
    databaseBinding: "CLUSTER_DB_DEFAULT",
    databaseAddress: `postgres://127.0.0.1:${context.port("postgres")}/${CLUSTER_DATABASE}`,
    isDefault: true,
    services: DEMO_SERVICES,
  });
  if (secrets.apiToken === null) {
    secrets.apiToken = await createApiToken(control, { name: "local stack", scopes: ["read", "write", "admin"] });
    context.saveSecrets();
  }
  return secrets.apiToken;
}

async function bundleWorkers(context: StackContext): Promise<void> {
  const script = new URL("bundle-host.ts", import.meta.url).pathname;
  try {
    await promisify(execFile)(execPath, [script, context.paths.build], {
      cwd: PACKAGE_ROOT,
      signal: context.signal,
      env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
    });
  } catch (cause) {
    const said = cause instanceof Error && "stderr" in cause ? String(cause.stderr).trim() : String(cause);
    throw new CliError(EXIT.failed, `the Workers can't be bundled:\n${said}`, null, { cause });
  }
}

async function startWorkers(context: StackContext, local: PostgresUrls): Promise<void> {
  const { paths, supervisor } = context;
  writeJson(paths.workersConfig, workersConfig(context, local));
  await supervisor.start({
    name: "workers",
    tier: 1,
    command: execPath,
    args: [new URL("workers-host.ts", import.meta.url).pathname, paths.workersConfig],
    cwd: PACKAGE_ROOT,
    // The edge and the console both answer; what they answer is theirs.
    ready: async () =>
      (await probe(`http://127.0.0.1:${context.edgePort}/`, `ready.${BASE_DOMAIN}`)) !== null &&
      (await probe(consoleUrl(context), "127.0.0.1")) !== null,
    // workerd survives a killed host and would go on serving the ports.
    groupDiesWithIt: true,
    onMessage: (message) => {
      const parsed = workersMessage.safeParse(message);
      if (parsed.success) supervisor.noteSubprocess("workers", "workerd", parsed.data.pid);
    },
  });
}

function workersConfig(context: StackContext, local: PostgresUrls): WorkersConfig {
  const { secrets, paths, edgePort, consolePort } = context;
  const visible = { BASE_DOMAINS: BASE_DOMAIN, PUBLIC_SCHEME: "http", PUBLIC_PORT: String(edgePort) };
  const database = (role: keyof typeof secrets.rolePasswords, name = CONTROL_DATABASE) =>
    local.urlAs(role, secrets.rolePasswords[role], name);
  const keys = (key: Parameters<typeof publicHalf>[0]) => JSON.stringify({ keys: [publicHalf(key)] });
  const traces = traceEnvironment(process.env);
  const lane = { ...traces, BASE_DOMAINS: BASE_DOMAIN, RELAY_TOKEN_KEY: secrets.relayTokenKey };
  return {
    edgePort,
    consolePort,
    buildDir: paths.build,
    persistDir: paths.workers,
    workers: {
      "causeway-edge": {
        bindings: {
          ...traces,
          ...visible,
          SESSION_PUBLIC_KEYS: keys(secrets.sessionKey),
          PROOF_PRIVATE_KEY: JSON.stringify(secrets.proofKey),
        },
        hyperdrives: {},
      },
      "causeway-portal": {
        bindings: {
          ...visible,
          // What to play with: anybody signs up (mails are in the portal's log) and makes some tenants.
          SIGN_UP: "open",
          TENANTS_PER_ACCOUNT: "3",
          AUTH_SECRET: secrets.authSecret,
          SESSION_PRIVATE_KEY: JSON.stringify(secrets.sessionKey),
        },
        hyperdrives: { PORTAL_DB: database("causeway_portal") },
      },
      "causeway-console": { bindings: {}, hyperdrives: { CONTROL_DB: database("causeway_console") } },
      "causeway-provisioner": {
        // Nothing on this machine asks the internet unless somebody wants it to.
        bindings: {
          CREDENTIAL_KEY: secrets.credentialKey,
          DNS_RESOLVER_URL: process.env["CAUSEWAY_DNS_RESOLVER_URL"] ?? "",
          WEBHOOK_ALLOWED_HOSTS: process.env["CAUSEWAY_WEBHOOK_ALLOWED_HOSTS"] ?? "",
        },
        hyperdrives: {
          CONTROL_DB: database("causeway_provisioner"),
          CLUSTER_DB_DEFAULT: database("causeway_provisioner", CLUSTER_DATABASE),
        },
      },
      "causeway-relay-control": {
        bindings: { BASE_DOMAINS: BASE_DOMAIN, PROOF_PUBLIC_KEYS: keys(secrets.proofKey) },
        hyperdrives: {},
      },
      "causeway-relay-a": { bindings: lane, hyperdrives: {} },
      "causeway-relay-b": { bindings: lane, hyperdrives: {} },
    },
  };
}
