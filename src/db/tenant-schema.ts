import { bigserial, jsonb, pgTable, text, timestamp } from "drizzle-orm/pg-core";

/**
 * The schema that every tenant has in its cluster's database. Tables carry no schema name: the runner's search_path decides (migrate.ts).
 * So no enums and no foreign keys here: drizzle-kit would write them with the name of schema `public`.
 */
const at = (name: string) => timestamp(name, { withTimezone: true, mode: "date" }).notNull().defaultNow();

export const settings = pgTable("settings", {
  key: text("key").primaryKey(),
  value: jsonb("value").$type<unknown>().notNull(),
  updatedAt: at("updated_at"),
});

export const documents = pgTable("documents", {
  id: bigserial("id", { mode: "number" }).primaryKey(),
  title: text("title").notNull(),
  body: text("body").notNull(),
  createdAt: at("created_at"),
});
