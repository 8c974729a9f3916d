CREATE SCHEMA "control";
--> statement-breakpoint
CREATE SCHEMA "portal";
--> statement-breakpoint
CREATE SEQUENCE "control"."revision" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE TABLE "control"."api_tokens" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"hash" text NOT NULL,
	"scopes" text[] NOT NULL,
	"expires_at" timestamp with time zone,
	"revoked_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "api_tokens_hash_unique" UNIQUE("hash")
);
--> statement-breakpoint
CREATE TABLE "control"."audit_events" (
	"id" text PRIMARY KEY NOT NULL,
	"seq" bigserial NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"subject_id" text NOT NULL,
	"tenant_id" text,
	"request_id" text,
	"details" jsonb DEFAULT '{}'::jsonb NOT NULL,
	CONSTRAINT "audit_events_seq" UNIQUE("seq")
);
--> statement-breakpoint
CREATE TABLE "control"."service_catalogue" (
	"cluster_id" text NOT NULL,
	"name" text NOT NULL,
	"driver" jsonb NOT NULL,
	"health_path" text,
	"needs_schema" boolean DEFAULT false NOT NULL,
	"routes" jsonb NOT NULL,
	"is_default" boolean DEFAULT true NOT NULL,
	CONSTRAINT "service_catalogue_cluster_id_name_pk" PRIMARY KEY("cluster_id","name")
);
--> statement-breakpoint
CREATE TABLE "control"."clusters" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"base_domains" text[] NOT NULL,
	"database_binding" text NOT NULL,
	"database_address" text NOT NULL,
	"is_default" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "clusters_name_unique" UNIQUE("name"),
	CONSTRAINT "clusters_has_base_domain" CHECK (cardinality("control"."clusters"."base_domains") > 0)
);
--> statement-breakpoint
CREATE TABLE "control"."connector_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"connector_id" text NOT NULL,
	"kid" text NOT NULL,
	"public_key" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "connector_keys_kid_per_connector" UNIQUE("connector_id","kid")
);
--> statement-breakpoint
CREATE TABLE "control"."connector_sessions" (
	"id" text PRIMARY KEY NOT NULL,
	"connector_id" text NOT NULL,
	"instance_id" text NOT NULL,
	"lane" text NOT NULL,
	"online_at" timestamp with time zone,
	"offline_at" timestamp with time zone,
	"reason" text
);
--> statement-breakpoint
CREATE TABLE "control"."connectors" (
	"id" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"name" text NOT NULL,
	"disabled" boolean DEFAULT false NOT NULL,
	"targets" text[],
	"revision" bigint DEFAULT nextval('control.revision') NOT NULL,
	"state" text DEFAULT 'offline' NOT NULL,
	"last_seen_at" timestamp with time zone,
	"deleted_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "control"."credentials" (
	"tenant_id" text NOT NULL,
	"kind" text NOT NULL,
	"sealed" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "credentials_tenant_id_kind_pk" PRIMARY KEY("tenant_id","kind")
);
--> statement-breakpoint
CREATE TABLE "control"."hosts" (
	"host" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"kind" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "hosts_lower_case" CHECK ("control"."hosts"."host" = lower("control"."hosts"."host"))
);
--> statement-breakpoint
CREATE TABLE "control"."idempotency_keys" (
	"token_id" text NOT NULL,
	"key" text NOT NULL,
	"request_mac" text NOT NULL,
	"sealed_answer" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "idempotency_keys_token_id_key_pk" PRIMARY KEY("token_id","key")
);
--> statement-breakpoint
CREATE TABLE "control"."nodes" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"cluster_id" text NOT NULL,
	"envoy_url" text NOT NULL,
	"capacity" integer NOT NULL,
	"state" text DEFAULT 'active' NOT NULL,
	"labels" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"revision" bigint DEFAULT nextval('control.revision') NOT NULL,
	"enrolment_hash" text,
	"enrolment_opened_at" timestamp with time zone,
	"enrolment_expires_at" timestamp with time zone,
	"enrolled_at" timestamp with time zone,
	"online" boolean DEFAULT false NOT NULL,
	"presence_at" timestamp with time zone,
	"last_seen_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "nodes_name_unique" UNIQUE("name"),
	CONSTRAINT "nodes_capacity_not_negative" CHECK ("control"."nodes"."capacity" >= 0)
);
--> statement-breakpoint
CREATE TABLE "control"."operation_steps" (
	"operation_id" text NOT NULL,
	"position" integer NOT NULL,
	"name" text NOT NULL,
	"state" text DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"reason" text,
	"started_at" timestamp with time zone,
	"finished_at" timestamp with time zone,
	CONSTRAINT "operation_steps_operation_id_position_pk" PRIMARY KEY("operation_id","position")
);
--> statement-breakpoint
CREATE TABLE "control"."operations" (
	"id" text PRIMARY KEY NOT NULL,
	"seq" bigserial NOT NULL,
	"kind" text NOT NULL,
	"subject_id" text NOT NULL,
	"tenant_id" text,
	"state" text DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"reason" text,
	"next_attempt_at" timestamp with time zone DEFAULT now() NOT NULL,
	"lease_token" text,
	"lease_until" timestamp with time zone,
	"dead_lettered_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp with time zone,
	"finished_at" timestamp with time zone,
	CONSTRAINT "operations_seq" UNIQUE("seq")
);
--> statement-breakpoint
CREATE TABLE "control"."outbox" (
	"id" text PRIMARY KEY NOT NULL,
	"operation_id" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"sent_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "control"."routes" (
	"tenant_id" text NOT NULL,
	"prefix" text NOT NULL,
	"access" text NOT NULL,
	"kind" text NOT NULL,
	"destination" text NOT NULL,
	CONSTRAINT "routes_tenant_id_prefix_pk" PRIMARY KEY("tenant_id","prefix")
);
--> statement-breakpoint
CREATE TABLE "control"."services" (
	"tenant_id" text NOT NULL,
	"workspace_id" text NOT NULL,
	"name" text NOT NULL,
	"driver" jsonb NOT NULL,
	"health_path" text,
	"needs_schema" boolean DEFAULT false NOT NULL,
	"status" text DEFAULT 'CREATED' NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "services_tenant_id_workspace_id_name_pk" PRIMARY KEY("tenant_id","workspace_id","name"),
	CONSTRAINT "services_status" CHECK ("control"."services"."status" in ('RUNNING', 'EXITED', 'CREATED', 'UNAVAILABLE'))
);
--> statement-breakpoint
CREATE TABLE "control"."tenants" (
	"id" text PRIMARY KEY NOT NULL,
	"slug" text NOT NULL,
	"cluster_id" text NOT NULL,
	"node_id" text,
	"requested_node_id" text,
	"state" text DEFAULT 'provisioning' NOT NULL,
	"revision" bigint DEFAULT nextval('control.revision') NOT NULL,
	"access_revision" integer DEFAULT 1 NOT NULL,
	"multiple_workspaces" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "tenants_slug_per_cluster" UNIQUE("cluster_id","slug"),
	CONSTRAINT "tenants_state" CHECK ("control"."tenants"."state" in ('provisioning', 'active', 'suspended', 'failed', 'deleting'))
);
--> statement-breakpoint
CREATE TABLE "control"."workspaces" (
	"id" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"name" text NOT NULL,
	"is_default" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "workspaces_name_per_tenant" UNIQUE("tenant_id","name")
);
--> statement-breakpoint
CREATE TABLE "portal"."account" (
	"id" text PRIMARY KEY NOT NULL,
	"issuer" text NOT NULL,
	"account_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"user_id" text NOT NULL,
	"access_token" text,
	"refresh_token" text,
	"id_token" text,
	"access_token_expires_at" timestamp with time zone,
	"refresh_token_expires_at" timestamp with time zone,
	"scope" text,
	"password" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "portal"."invitation" (
	"id" text PRIMARY KEY NOT NULL,
	"organization_id" text NOT NULL,
	"email" text NOT NULL,
	"role" text,
	"status" text DEFAULT 'pending' NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"inviter_id" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "portal"."member" (
	"id" text PRIMARY KEY NOT NULL,
	"organization_id" text NOT NULL,
	"user_id" text NOT NULL,
	"role" text DEFAULT 'member' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "portal"."organization" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"slug" text NOT NULL,
	"logo" text,
	"metadata" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "organization_slug_unique" UNIQUE("slug")
);
--> statement-breakpoint
CREATE TABLE "portal"."rate_limit" (
	"id" text PRIMARY KEY NOT NULL,
	"key" text NOT NULL,
	"count" integer NOT NULL,
	"last_request" bigint NOT NULL,
	CONSTRAINT "rate_limit_key_unique" UNIQUE("key")
);
--> statement-breakpoint
CREATE TABLE "portal"."session" (
	"id" text PRIMARY KEY NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"token" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ip_address" text,
	"user_agent" text,
	"user_id" text NOT NULL,
	"active_organization_id" text,
	CONSTRAINT "session_token_unique" UNIQUE("token")
);
--> statement-breakpoint
CREATE TABLE "portal"."sign_in_code" (
	"code_hash" text PRIMARY KEY NOT NULL,
	"session_id" text NOT NULL,
	"user_id" text NOT NULL,
	"tenant_id" text NOT NULL,
	"host" text NOT NULL,
	"code_challenge" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "sign_in_code_hash_is_sha256" CHECK (length("portal"."sign_in_code"."code_hash") = 64)
);
--> statement-breakpoint
CREATE TABLE "portal"."user" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"email" text NOT NULL,
	"email_verified" boolean DEFAULT false NOT NULL,
	"image" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "user_email_unique" UNIQUE("email")
);
--> statement-breakpoint
CREATE TABLE "portal"."verification" (
	"id" text PRIMARY KEY NOT NULL,
	"identifier" text NOT NULL,
	"value" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "control"."service_catalogue" ADD CONSTRAINT "service_catalogue_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "control"."clusters"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."connector_keys" ADD CONSTRAINT "connector_keys_connector_id_connectors_id_fk" FOREIGN KEY ("connector_id") REFERENCES "control"."connectors"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."connector_sessions" ADD CONSTRAINT "connector_sessions_connector_id_connectors_id_fk" FOREIGN KEY ("connector_id") REFERENCES "control"."connectors"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."connectors" ADD CONSTRAINT "connectors_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."credentials" ADD CONSTRAINT "credentials_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."hosts" ADD CONSTRAINT "hosts_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."nodes" ADD CONSTRAINT "nodes_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "control"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."operation_steps" ADD CONSTRAINT "operation_steps_operation_id_operations_id_fk" FOREIGN KEY ("operation_id") REFERENCES "control"."operations"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."routes" ADD CONSTRAINT "routes_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."services" ADD CONSTRAINT "services_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."services" ADD CONSTRAINT "services_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "control"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "tenants_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "control"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "tenants_node_id_nodes_id_fk" FOREIGN KEY ("node_id") REFERENCES "control"."nodes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "tenants_requested_node_id_nodes_id_fk" FOREIGN KEY ("requested_node_id") REFERENCES "control"."nodes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."workspaces" ADD CONSTRAINT "workspaces_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "portal"."account" ADD CONSTRAINT "account_user_id_user_id_fk" FOREIGN KEY ("user_id") REFERENCES "portal"."user"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "portal"."invitation" ADD CONSTRAINT "invitation_organization_id_organization_id_fk" FOREIGN KEY ("organization_id") REFERENCES "portal"."organization"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "portal"."invitation" ADD CONSTRAINT "invitation_inviter_id_user_id_fk" FOREIGN KEY ("inviter_id") REFERENCES "portal"."user"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "portal"."member" ADD CONSTRAINT "member_organization_id_organization_id_fk" FOREIGN KEY ("organization_id") REFERENCES "portal"."organization"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "portal"."member" ADD CONSTRAINT "member_user_id_user_id_fk" FOREIGN KEY ("user_id") REFERENCES "portal"."user"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "portal"."session" ADD CONSTRAINT "session_user_id_user_id_fk" FOREIGN KEY ("user_id") REFERENCES "portal"."user"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "portal"."sign_in_code" ADD CONSTRAINT "sign_in_code_session_id_session_id_fk" FOREIGN KEY ("session_id") REFERENCES "portal"."session"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "portal"."sign_in_code" ADD CONSTRAINT "sign_in_code_user_id_user_id_fk" FOREIGN KEY ("user_id") REFERENCES "portal"."user"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_events_tenant_idx" ON "control"."audit_events" USING btree ("tenant_id","seq");--> statement-breakpoint
CREATE UNIQUE INDEX "clusters_one_default" ON "control"."clusters" USING btree ("is_default") WHERE "control"."clusters"."is_default";--> statement-breakpoint
CREATE INDEX "connector_sessions_connector_idx" ON "control"."connector_sessions" USING btree ("connector_id","online_at");--> statement-breakpoint
CREATE UNIQUE INDEX "connectors_name_per_tenant" ON "control"."connectors" USING btree ("tenant_id","name") WHERE "control"."connectors"."deleted_at" is null;--> statement-breakpoint
CREATE INDEX "hosts_tenant_idx" ON "control"."hosts" USING btree ("tenant_id");--> statement-breakpoint
CREATE INDEX "idempotency_keys_expires_idx" ON "control"."idempotency_keys" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "nodes_cluster_idx" ON "control"."nodes" USING btree ("cluster_id");--> statement-breakpoint
CREATE UNIQUE INDEX "operations_one_running" ON "control"."operations" USING btree ("subject_id") WHERE "control"."operations"."state" = 'running';--> statement-breakpoint
CREATE INDEX "operations_open_idx" ON "control"."operations" USING btree ("next_attempt_at") WHERE "control"."operations"."state" in ('pending', 'running');--> statement-breakpoint
CREATE INDEX "operations_subject_idx" ON "control"."operations" USING btree ("subject_id","seq");--> statement-breakpoint
CREATE INDEX "operations_tenant_idx" ON "control"."operations" USING btree ("tenant_id","seq");--> statement-breakpoint
CREATE INDEX "outbox_unsent_idx" ON "control"."outbox" USING btree ("created_at") WHERE "control"."outbox"."sent_at" is null;--> statement-breakpoint
CREATE INDEX "tenants_node_idx" ON "control"."tenants" USING btree ("node_id");--> statement-breakpoint
CREATE UNIQUE INDEX "workspaces_one_default" ON "control"."workspaces" USING btree ("tenant_id") WHERE "control"."workspaces"."is_default";--> statement-breakpoint
CREATE UNIQUE INDEX "account_issuer_account_id_uidx" ON "portal"."account" USING btree ("issuer","account_id");--> statement-breakpoint
CREATE INDEX "account_user_id_idx" ON "portal"."account" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "invitation_organization_id_idx" ON "portal"."invitation" USING btree ("organization_id");--> statement-breakpoint
CREATE INDEX "invitation_email_idx" ON "portal"."invitation" USING btree ("email");--> statement-breakpoint
CREATE UNIQUE INDEX "member_organization_id_user_id_uidx" ON "portal"."member" USING btree ("organization_id","user_id");--> statement-breakpoint
CREATE INDEX "member_user_id_idx" ON "portal"."member" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "session_user_id_idx" ON "portal"."session" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "sign_in_code_expires_at_idx" ON "portal"."sign_in_code" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "verification_identifier_idx" ON "portal"."verification" USING btree ("identifier");