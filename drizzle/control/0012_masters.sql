ALTER TABLE "control"."nodes" ADD COLUMN "role" text DEFAULT 'node' NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."nodes" ADD COLUMN "masters_address" text;