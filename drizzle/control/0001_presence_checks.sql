ALTER TABLE "control"."connectors" ADD COLUMN "checked_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "control"."nodes" ADD COLUMN "checked_at" timestamp with time zone;