CREATE TABLE "control"."maintenance_notices" (
	"scope" text PRIMARY KEY NOT NULL,
	"maintenance" jsonb,
	"revision" bigint DEFAULT nextval('control.revision') NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
