import { defineConfig } from "drizzle-kit";

/** The schema that every tenant has in its cluster's database. */
export default defineConfig({
  dialect: "postgresql",
  schema: "./src/db/tenant-schema.ts",
  out: process.env["DRIZZLE_OUT"] ?? "drizzle/tenant",
});
