CREATE TABLE "portal"."mail_link" (
	"token_hash" text PRIMARY KEY NOT NULL,
	"purpose" text NOT NULL,
	"email" text NOT NULL,
	"user_id" text,
	"expires_at" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "mail_link_hash_is_sha256" CHECK (length("portal"."mail_link"."token_hash") = 64),
	CONSTRAINT "mail_link_purpose_is_known" CHECK ("portal"."mail_link"."purpose" in ('reset-password', 'sign-up', 'verify-address'))
);
--> statement-breakpoint
ALTER TABLE "portal"."invitation" ALTER COLUMN "inviter_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "portal"."invitation" ADD COLUMN "token_hash" text;--> statement-breakpoint
ALTER TABLE "portal"."mail_link" ADD CONSTRAINT "mail_link_user_id_user_id_fk" FOREIGN KEY ("user_id") REFERENCES "portal"."user"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "mail_link_expires_at_idx" ON "portal"."mail_link" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "mail_link_email_idx" ON "portal"."mail_link" USING btree ("email","purpose");--> statement-breakpoint
CREATE INDEX "mail_link_user_id_idx" ON "portal"."mail_link" USING btree ("user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "invitation_open_uidx" ON "portal"."invitation" USING btree ("organization_id","email") WHERE "portal"."invitation"."status" = 'pending';--> statement-breakpoint
ALTER TABLE "portal"."invitation" ADD CONSTRAINT "invitation_token_hash_unique" UNIQUE("token_hash");--> statement-breakpoint
ALTER TABLE "portal"."member" ADD CONSTRAINT "member_role_is_known" CHECK ("portal"."member"."role" in ('owner', 'admin', 'member', 'viewer'));