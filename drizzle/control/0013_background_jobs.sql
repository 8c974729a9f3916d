CREATE TABLE "control"."job_logs" (
	"id" text PRIMARY KEY NOT NULL,
	"seq" bigserial NOT NULL,
	"tenant_id" text NOT NULL,
	"job_id" text NOT NULL,
	"run_id" text NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"level" text NOT NULL,
	"message" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "control"."job_runs" (
	"id" text PRIMARY KEY NOT NULL,
	"seq" bigserial NOT NULL,
	"tenant_id" text NOT NULL,
	"job_id" text NOT NULL,
	"job" text NOT NULL,
	"worker" integer NOT NULL,
	"version" integer NOT NULL,
	"trigger" text NOT NULL,
	"state" text NOT NULL,
	"queued_at" timestamp with time zone NOT NULL,
	"started_at" timestamp with time zone,
	"ended_at" timestamp with time zone,
	"since_at" timestamp with time zone,
	"items" integer NOT NULL,
	"records" bigint NOT NULL,
	"errors" integer NOT NULL,
	"retries" integer NOT NULL,
	"reason" text
);
--> statement-breakpoint
CREATE TABLE "control"."job_settings" (
	"tenant_id" text PRIMARY KEY NOT NULL,
	"revision" bigint DEFAULT nextval('control.revision') NOT NULL,
	"workers" integer DEFAULT 1 NOT NULL,
	"workers_ever" integer DEFAULT 1 NOT NULL,
	"log_level" text DEFAULT 'info' NOT NULL,
	"retention_days" integer DEFAULT 30 NOT NULL,
	"checked_at" timestamp with time zone,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "job_settings_workers" CHECK ("control"."job_settings"."workers" between 1 and "control"."job_settings"."workers_ever")
);
--> statement-breakpoint
CREATE TABLE "control"."jobs" (
	"id" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"name" text NOT NULL,
	"worker" integer DEFAULT 0 NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"schedule" jsonb NOT NULL,
	"action" jsonb NOT NULL,
	"auth" jsonb,
	"retry" boolean DEFAULT true NOT NULL,
	"repeatable" boolean DEFAULT false NOT NULL,
	"timeout_ms" integer NOT NULL,
	"max_items" integer NOT NULL,
	"sealed_webhook" text,
	"sealed_client" text,
	"cursor_at" timestamp with time zone,
	"cursor_epoch" integer DEFAULT 0 NOT NULL,
	"revision" bigint DEFAULT nextval('control.revision') NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "jobs_name_per_tenant" UNIQUE("tenant_id","name")
);
--> statement-breakpoint
ALTER TABLE "control"."job_logs" ADD CONSTRAINT "job_logs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."job_runs" ADD CONSTRAINT "job_runs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."job_settings" ADD CONSTRAINT "job_settings_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."jobs" ADD CONSTRAINT "jobs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "job_logs_tenant_idx" ON "control"."job_logs" USING btree ("tenant_id","seq");--> statement-breakpoint
CREATE INDEX "job_logs_run_idx" ON "control"."job_logs" USING btree ("run_id","seq");--> statement-breakpoint
CREATE INDEX "job_runs_tenant_idx" ON "control"."job_runs" USING btree ("tenant_id","seq");--> statement-breakpoint
CREATE INDEX "job_runs_job_idx" ON "control"."job_runs" USING btree ("job_id","seq");