import { sql } from "drizzle-orm";
import type { AccessMode } from "../policy/record.ts";
import type { NodeService } from "../protocol/node-channel.ts";
import { newId } from "../shared/ids.ts";
import { connect } from "./client.ts";
import { catalogue, clusters } from "./schema.ts";

export interface ClusterSeed {
  readonly name: string;
  readonly baseDomains: readonly string[];
  readonly databaseBinding: string;
  /** postgres://host:port/database as the nodes reach it; no user, no password. */
  readonly databaseAddress: string;
  readonly isDefault: boolean;
  readonly services: readonly {
    readonly name: string;
    readonly driver: NodeService["driver"];
    readonly healthPath: string | null;
    readonly needsSchema: boolean;
    readonly routes: readonly { prefix: string; access: AccessMode }[];
  }[];
}

/** The catalogue of the local stack: three demo services, and one path that only members may use. */
export const DEMO_SERVICES: ClusterSeed["services"] = [
  { name: "app", prefixes: ["/app", "/private"] },
  { name: "connectors", prefixes: ["/connectors"] },
  { name: "manager", prefixes: ["/manager"] },
].map(({ name, prefixes }) => ({
  name,
  driver: { kind: "process", command: "demo-service" },
  healthPath: "/healthz",
  needsSchema: true,
  routes: prefixes.map((prefix) => ({
    prefix,
    access: prefix === "/private" ? ("member" as const) : ("public" as const),
  })),
}));

/** Makes or updates a cluster and its catalogue. Safe to repeat; tenants that exist keep the services and routes they have. */
export async function seedCluster(url: string, seed: ClusterSeed): Promise<void> {
  const { db, sql: client } = connect(url, 1);
  try {
    await db.transaction(async (tx) => {
      const { name, databaseBinding, databaseAddress, isDefault } = seed;
      const values = { name, databaseBinding, databaseAddress, isDefault };
      const [cluster] = await tx
        .insert(clusters)
        // Those that are there are changed by an operation, since tenants have hosts below them.
        .values({ id: newId("clu"), ...values, baseDomains: [...seed.baseDomains] })
        .onConflictDoUpdate({ target: clusters.name, set: values })
        .returning({ id: clusters.id });
      if (cluster === undefined || seed.services.length === 0) return;
      await tx
        .insert(catalogue)
        .values(seed.services.map((service) => ({ clusterId: cluster.id, ...service, routes: [...service.routes] })))
        .onConflictDoUpdate({
          target: [catalogue.clusterId, catalogue.name],
          set: {
            driver: sql`excluded.driver`,
            healthPath: sql`excluded.health_path`,
            needsSchema: sql`excluded.needs_schema`,
            routes: sql`excluded.routes`,
          },
        });
    });
  } finally {
    await client.end();
  }
}
