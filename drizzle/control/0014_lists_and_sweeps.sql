CREATE INDEX "connector_sessions_offline_idx" ON "control"."connector_sessions" USING btree ("offline_at");--> statement-breakpoint
CREATE INDEX "hosts_leaving_idx" ON "control"."hosts" USING btree ("leaving_since") WHERE "control"."hosts"."leaving_since" is not null;--> statement-breakpoint
CREATE INDEX "outbox_created_idx" ON "control"."outbox" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "tenants_slug_idx" ON "control"."tenants" USING btree ("slug","id");