CREATE TABLE "control"."service_tokens" (
	"id" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"sha256" text NOT NULL,
	"name" text NOT NULL,
	"prefixes" text[] NOT NULL,
	"write" boolean DEFAULT false NOT NULL,
	"expires_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "service_tokens_sha256_unique" UNIQUE("sha256"),
	CONSTRAINT "service_tokens_name_per_tenant" UNIQUE("tenant_id","name")
);
--> statement-breakpoint
ALTER TABLE "control"."routes" ADD COLUMN "options" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "edge_rules" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "visitor_password" jsonb;--> statement-breakpoint
ALTER TABLE "control"."service_tokens" ADD CONSTRAINT "service_tokens_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;