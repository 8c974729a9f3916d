import { defineConfig } from "drizzle-kit";

/** Control data and the portal's accounts. DRIZZLE_OUT: another folder, for the check that migrations are in step. */
export default defineConfig({
  dialect: "postgresql",
  schema: ["./src/db/schema.ts", "./src/db/portal-schema.ts"],
  out: process.env["DRIZZLE_OUT"] ?? "drizzle/control",
});
