ALTER TABLE "control"."tenants" ADD COLUMN "next_node_id" text;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "leaving_node_id" text;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "tenants_next_node_id_nodes_id_fk" FOREIGN KEY ("next_node_id") REFERENCES "control"."nodes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "tenants_leaving_node_id_nodes_id_fk" FOREIGN KEY ("leaving_node_id") REFERENCES "control"."nodes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "tenants_next_node_idx" ON "control"."tenants" USING btree ("next_node_id");--> statement-breakpoint
CREATE INDEX "tenants_leaving_node_idx" ON "control"."tenants" USING btree ("leaving_node_id");