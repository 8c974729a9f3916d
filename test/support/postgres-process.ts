/**
 * A test database as a process of its own: sends ProvidedDatabase to its parent when it is ready, stops on SIGTERM or when its parent
 * is gone. A process, because inside a workerd project vitest resolves the driver to its Workers build, which Node can't run.
 */
import { createApiToken } from "../../src/db/api-tokens.ts";
import { DEMO_SERVICES, seedCluster } from "../../src/db/seed.ts";
import { ROLE_PASSWORDS, startPostgres } from "./postgres.ts";
import type { ProvidedDatabase } from "./postgres-setup.ts";

const server = await startPostgres();
let stopping: Promise<void> | null = null;
const stop = () => {
  stopping ??= server.stop();
  void stopping.then(() => process.exit(0));
};
process.once("SIGTERM", stop);
process.once("disconnect", stop);

const database = await server.createDatabase();
const as = (user: keyof typeof ROLE_PASSWORDS) => server.url(database, { user, password: ROLE_PASSWORDS[user] });
const adminUrl = server.url(database);
await seedCluster(adminUrl, {
  name: "default",
  baseDomains: ["causeway.localhost"],
  databaseBinding: "CLUSTER_DB_DEFAULT",
  databaseAddress: `postgres://127.0.0.1:${server.port}/${database}`,
  isDefault: true,
  services: DEMO_SERVICES,
});
const provided: ProvidedDatabase = {
  adminUrl,
  consoleUrl: as("causeway_console"),
  provisionerUrl: as("causeway_provisioner"),
  portalUrl: as("causeway_portal"),
  adminToken: await createApiToken(adminUrl, { name: "test admin", scopes: ["admin"] }),
  readToken: await createApiToken(adminUrl, { name: "test reader", scopes: ["read"] }),
};
process.send?.(provided);
