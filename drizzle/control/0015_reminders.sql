ALTER TABLE "control"."operations" ADD COLUMN "reminded_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "control"."operations" ADD COLUMN "reminders" integer DEFAULT 0 NOT NULL;