CREATE TABLE "control"."host_claims" (
	"tenant_id" text NOT NULL,
	"host" text NOT NULL,
	"token" text NOT NULL,
	"state" text DEFAULT 'pending' NOT NULL,
	"state_since" timestamp with time zone DEFAULT now() NOT NULL,
	"reason" text,
	"method" text,
	"verified_at" timestamp with time zone,
	"checked_at" timestamp with time zone,
	"next_check_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "host_claims_tenant_id_host_pk" PRIMARY KEY("tenant_id","host")
);
--> statement-breakpoint
ALTER TABLE "control"."hosts" ADD COLUMN "leaving_since" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "control"."hosts" ADD COLUMN "withdrawn_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "control"."hosts" ADD COLUMN "front_id" text;--> statement-breakpoint
ALTER TABLE "control"."hosts" ADD COLUMN "front_state" text;--> statement-breakpoint
ALTER TABLE "control"."hosts" ADD COLUMN "front_reason" text;--> statement-breakpoint
ALTER TABLE "control"."hosts" ADD COLUMN "front_records" jsonb;--> statement-breakpoint
ALTER TABLE "control"."hosts" ADD COLUMN "front_checked_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "control"."host_claims" ADD CONSTRAINT "host_claims_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "host_claims_due_idx" ON "control"."host_claims" USING btree ("next_check_at") WHERE "control"."host_claims"."next_check_at" is not null;--> statement-breakpoint
CREATE INDEX "hosts_front_idx" ON "control"."hosts" USING btree ("front_checked_at") WHERE "control"."hosts"."kind" = 'custom';