ALTER TABLE "control"."service_catalogue" ADD COLUMN "protocol" text DEFAULT 'http' NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."services" ADD COLUMN "protocol" text DEFAULT 'http' NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."services" ADD COLUMN "stopped" boolean DEFAULT false NOT NULL;