import { parseArgs } from "node:util";
import postgres from "postgres";
import { z } from "zod";
import { createConsole } from "../../src/console/app.ts";
import type { ConsolePorts } from "../../src/console/ports.ts";
import { createApiToken } from "../../src/db/api-tokens.ts";
import { connect } from "../../src/db/client.ts";
import { lockActiveNodes, placesTaken } from "../../src/db/placement.ts";
import { importSealingKey } from "../../src/db/secrets.ts";
import { tenantById } from "../../src/db/tenants.ts";
import { publicationOf } from "../../src/provisioner/directory.ts";
import { nodeTenantOf } from "../../src/provisioner/node-tenant.ts";
import type { ProvisionerPorts } from "../../src/provisioner/ports.ts";
import { sweep } from "../../src/provisioner/sweep.ts";
import { operations } from "../../src/db/schema.ts";
import { createLogger } from "../../src/shared/log.ts";
import { eq } from "drizzle-orm";
import { ROLE_PASSWORDS, startPostgres } from "../support/postgres.ts";

/**
 * node test/load/control-plane.ts --tenants 100000
 *
 * A control database with so many tenants (rows made up: 20 nodes, a workspace, two hosts, three services, four routes, two connectors, three
 * operations with their steps and audit events each), asked as console and provisioner ask it, on Node instead of workerd. Prints for each
 * question the median of a few runs in milliseconds, and which tables were read from end to end for it.
 */
const { values } = parseArgs({
  options: { tenants: { type: "string", default: "100000" }, runs: { type: "string", default: "5" } },
});
const tenants = Number(values.tenants);
const runs = Number(values.runs);
/** Of tables that hold a row a cluster or node a sequential read is the right one. */
const LARGE_ROWS = 1_000;

const server = await startPostgres();
try {
  const database = await server.createDatabase();
  const admin = postgres(server.url(database), { max: 2, onnotice: () => {} });
  const filledMs = performance.now();
  await fill();
  process.stderr.write(`${tenants} tenants are there after ${Math.round((performance.now() - filledMs) / 1000)} s\n`);
  const as = (user: keyof typeof ROLE_PASSWORDS) =>
    connect(server.url(database, { user, password: ROLE_PASSWORDS[user] }), 1);
  const consoleDb = as("causeway_console");
  const provisionerDb = as("causeway_provisioner");
  const token = await createApiToken(server.url(database), { name: "load", scopes: ["read", "write", "admin"] });
  const app = createConsole();
  const log = createLogger("console", () => {});
  const ports: ConsolePorts = {
    db: consoleDb.db,
    send: async () => {},
    jobWorker: unreachable,
    members: {
      ensureMember: unreachable,
      invite: unreachable,
      resend: unreachable,
      revokeInvitation: unreachable,
      listMembers: unreachable,
      setRole: unreachable,
      removeMember: unreachable,
    },
    lanes: () => [],
    clock: Date.now,
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    log,
    waitUntil: () => {},
  };
  const ask = async (path: string, init: RequestInit = {}): Promise<string> => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const response = await app.fetch(new Request(`http://console.test/api/v1${path}`, { headers, ...init }), ports);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return z.looseObject({ nextCursor: z.string().nullish() }).parse(await response.json()).nextCursor ?? "";
  };
  const provisioner: ProvisionerPorts = {
    db: provisionerDb.db,
    clusterDatabase: () => null,
    directory: unreachable,
    directoryShards: unreachable,
    nodeChannel: unreachable,
    lanes: unreachable,
    jobWorker: unreachable,
    members: { removeTenant: unreachable },
    sealingKey: () => importSealingKey(Buffer.alloc(32, 7).toString("base64")),
    send: async () => {},
    dns: unreachable,
    front: null,
    fetch: unreachable,
    clock: Date.now,
    random: () => 0.5,
    log,
  };
  const middle = Math.floor(tenants / 2);
  const far = await ask(`/tenants?limit=200&q=slug-${String(middle)[0] ?? ""}`);
  const [operation] = await provisionerDb.db
    .select()
    .from(operations)
    .where(eq(operations.subjectId, tenantId(middle)))
    .limit(1);
  if (operation === undefined) throw new Error("no operation");
  let made = 0;
  const key = await provisioner.sealingKey();
  const questions: Record<string, () => Promise<unknown>> = {
    "list tenants, first page": () => ask("/tenants?limit=50"),
    "list tenants, a page in the middle": () => ask(`/tenants?limit=50&cursor=${encodeURIComponent(far)}`),
    "list tenants of a state that few have": () => ask("/tenants?limit=50&state=failed"),
    "search, found": () => ask(`/tenants?limit=50&q=slug-${middle}`),
    "search, nothing found": () => ask("/tenants?limit=50&q=nobody"),
    "show a tenant": () => ask(`/tenants/slug-${middle}`),
    "list operations": () => ask("/operations?limit=50"),
    "list operations that failed": () => ask("/operations?limit=50&state=failed"),
    "list a tenant's operations": () => ask(`/operations?limit=50&tenant=slug-${middle}`),
    "list audit events": () => ask("/audit?limit=50"),
    "list nodes with their tenants": () => ask("/nodes"),
    "create a tenant (API)": () => ask("/tenants", { method: "POST", body: JSON.stringify({ slug: `new-${made++}` }) }),
    "replace a tenant's routes (API)": () =>
      ask(`/tenants/slug-${made++}/routes`, { method: "PUT", body: JSON.stringify({ items: [] }) }),
    "publish (a tenant's records)": () =>
      provisionerDb.db.transaction((tx) => publicationOf(tx, operation, "active", Date.now())),
    "push (a tenant for its node)": () =>
      provisionerDb.db.transaction(async (tx) => {
        const found = await tenantById(tx, tenantId(middle));
        return found === null ? null : nodeTenantOf(tx, key, found);
      }),
    "choose a node (places counted under the nodes' locks)": () =>
      provisionerDb.db.transaction(async (tx) => {
        const rows = await lockActiveNodes(tx, "clu_1");
        return await placesTaken(
          tx,
          rows.map(({ id }) => id),
        );
      }),
    "sweep, nothing due": () => sweep(provisioner),
  };
  await sweep(provisioner);
  const report: Record<string, { ms: number; readWhole: string[] }> = {};
  for (const [name, question] of Object.entries(questions)) {
    await question();
    const before = await sequentialReads();
    const times: number[] = [];
    for (let run = 0; run < runs; run += 1) {
      const startedMs = performance.now();
      await question();
      times.push(performance.now() - startedMs);
    }
    const after = await sequentialReads();
    const readWhole = [...after].flatMap(([table, reads]) => (reads - (before.get(table) ?? 0) >= runs ? [table] : []));
    const median = times.toSorted((a, b) => a - b)[Math.floor(runs / 2)] ?? 0;
    report[name] = { ms: Math.round(median * 10) / 10, readWhole };
  }
  process.stdout.write(`${JSON.stringify({ tenants, report }, null, 2)}\n`);
  await Promise.all([admin.end(), consoleDb.sql.end(), provisionerDb.sql.end()]);

  /** Reads from end to end so far, of tables that are large. Sessions write their statistics when they are told to, or after seconds. */
  async function sequentialReads(): Promise<Map<string, number>> {
    for (const { sql } of [consoleDb, provisionerDb]) await sql`select pg_stat_force_next_flush()`;
    const rows = await admin<{ name: string; reads: number }[]>`
      select relname as name, seq_scan::int as reads from pg_stat_user_tables
      where schemaname = 'control' and n_live_tup > ${LARGE_ROWS}`;
    return new Map(rows.map(({ name, reads }) => [name, reads]));
  }

  async function fill(): Promise<void> {
    await admin.unsafe(`
      insert into control.clusters (id, name, base_domains, database_binding, database_address, is_default)
        values ('clu_1', 'default', '{load.example}', 'CLUSTER_DB_DEFAULT', 'postgres://127.0.0.1/none', true);
      insert into control.nodes (id, name, cluster_id, envoy_url, capacity, online, enrolled_at, checked_at)
        select 'nod_' || n, 'node-' || n, 'clu_1', 'http://127.0.0.1:1', 100000, true, now(), now() from generate_series(1, 20) n;
      insert into control.service_catalogue (cluster_id, name, driver, routes)
        values ('clu_1', 'app', '{"kind":"process","command":"app"}', '[{"prefix":"/","access":"public"}]');
      insert into control.tenants (id, slug, cluster_id, node_id, state)
        select 'ten_' || lpad(n::text, 20, '0'), 'slug-' || n, 'clu_1', 'nod_' || 1 + n % 20, case when n % 5000 = 0 then 'failed' else 'active' end
        from generate_series(1, ${tenants}) n;
      insert into control.workspaces (id, tenant_id, name, is_default) select 'wks' || substr(id, 4), id, 'default', true from control.tenants;
      insert into control.hosts (host, tenant_id, kind) select slug || '.load.example', id, 'primary' from control.tenants;
      insert into control.hosts (host, tenant_id, kind) select slug || '.custom.example', id, 'custom' from control.tenants;
      insert into control.host_claims (tenant_id, host, token, state, next_check_at)
        select tenant_id, host, 'token', 'verified', now() + interval '6 hours' from control.hosts where kind = 'custom';
      insert into control.services (tenant_id, workspace_id, name, driver, status)
        select id, 'wks' || substr(id, 4), name, '{"kind":"process","command":"app"}', 'RUNNING' from control.tenants, unnest('{app,connectors,manager}'::text[]) name;
      insert into control.routes (tenant_id, prefix, access, kind, destination)
        select id, '/' || name, 'public', 'service', 'app' from control.tenants, unnest('{app,connectors,manager,private}'::text[]) name;
      insert into control.connectors (id, tenant_id, name, checked_at)
        select 'con' || substr(id, 4) || name, id, name, now() from control.tenants, unnest('{one,two}'::text[]) name;
      insert into control.connector_sessions (id, connector_id, instance_id, lane, online_at, offline_at)
        select 'ses' || substr(id, 4), id, 'i', 'a', now() - interval '2 days', now() - interval '1 day' from control.connectors;
      insert into control.operations (id, kind, subject_id, tenant_id, state, finished_at)
        select 'op_' || substr(id, 5) || kind, kind, id, id, 'succeeded', now()
        from control.tenants, unnest('{tenant-create,tenant-routes,tenant-policy}'::text[]) kind;
      insert into control.operation_steps (operation_id, position, name, state)
        select id, position, 'publish', 'done' from control.operations, generate_series(0, 2) position;
      insert into control.outbox (id, operation_id, created_at, sent_at) select 'out' || substr(id, 3), id, now() - interval '1 day', now() from control.operations;
      insert into control.audit_events (id, actor, action, subject_id, tenant_id)
        select 'aud' || substr(id, 3), 'system:load', kind, subject_id, tenant_id from control.operations;
      update control.tenants set revision = revision`);
    // As a server's autovacuum leaves them: counts need nothing but an index.
    await admin.unsafe("vacuum analyze");
  }
} finally {
  await server.stop();
}

function tenantId(n: number): string {
  return `ten_${String(n).padStart(20, "0")}`;
}

/** Nothing of it is asked. */
function unreachable(): never {
  throw new Error("unreachable");
}
