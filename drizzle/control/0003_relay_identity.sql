CREATE TABLE "control"."connector_secrets" (
	"id" text PRIMARY KEY NOT NULL,
	"connector_id" text NOT NULL,
	"sha256" text NOT NULL,
	"label" text NOT NULL,
	"expires_at" timestamp with time zone,
	"last_used_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "connector_secrets_sha256_unique" UNIQUE("sha256")
);
--> statement-breakpoint
CREATE TABLE "control"."relay_issuers" (
	"tenant_id" text NOT NULL,
	"issuer" text NOT NULL,
	"audience" text NOT NULL,
	"keys" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"fetched_at" timestamp with time zone,
	"tried_at" timestamp with time zone,
	"problem" text,
	CONSTRAINT "relay_issuers_tenant_id_issuer_pk" PRIMARY KEY("tenant_id","issuer")
);
--> statement-breakpoint
CREATE TABLE "control"."relay_settings" (
	"tenant_id" text PRIMARY KEY NOT NULL,
	"revision" bigint DEFAULT nextval('control.revision') NOT NULL,
	"disabled" boolean DEFAULT false NOT NULL,
	"settings" jsonb NOT NULL,
	"pairing_until" timestamp with time zone,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "control"."connectors" ADD COLUMN "issuer_subject" text;--> statement-breakpoint
ALTER TABLE "control"."connectors" ADD COLUMN "read_only" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."connectors" ADD COLUMN "expires_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "control"."connectors" ADD COLUMN "config" text;--> statement-breakpoint
ALTER TABLE "control"."connectors" ADD COLUMN "config_revision" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."connector_secrets" ADD CONSTRAINT "connector_secrets_connector_id_connectors_id_fk" FOREIGN KEY ("connector_id") REFERENCES "control"."connectors"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."relay_issuers" ADD CONSTRAINT "relay_issuers_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."relay_settings" ADD CONSTRAINT "relay_settings_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "connector_secrets_connector_idx" ON "control"."connector_secrets" USING btree ("connector_id");