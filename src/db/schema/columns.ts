import { sql } from "drizzle-orm";
import { bigint, pgSchema, timestamp } from "drizzle-orm/pg-core";

export const control = pgSchema("control");

/**
 * One counter for the revisions of tenants, connectors and nodes. Being shared it can't run backwards for a host, a name or a node that
 * changes hands, so an old message never beats a newer one.
 */
export const revisionCounter = control.sequence("revision");

export const revision = () =>
  bigint("revision", { mode: "number" })
    .notNull()
    .default(sql`nextval('control.revision')`);

export const at = (name: string) => timestamp(name, { withTimezone: true, mode: "date" });

export const createdAt = () => at("created_at").notNull().defaultNow();

export const updatedAt = () => at("updated_at").notNull().defaultNow();
