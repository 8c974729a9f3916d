import { defineCommand } from "citty";
import { z } from "zod";
import { operation } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

const nameArg = {
  name: { type: "positional", required: true, description: "The tenant: slug, or slug@cluster" },
} as const;
const idArg = { id: { type: "positional", required: true, description: "Its id, as list shows it" } } as const;
const role = {
  type: "enum" as const,
  options: ["owner", "admin", "member", "viewer"],
  description: "What they may do",
};
const path = (name: string, ...rest: string[]): string =>
  ["/tenants", name, ...rest].map((part, index) => (index === 0 ? part : encodeURIComponent(part))).join("/");

const members = z.object({
  items: z.array(z.looseObject({ accountId: z.string(), email: z.string(), role: z.string(), since: z.string() })),
  invitations: z.array(z.looseObject({ id: z.string(), email: z.string(), role: z.string(), expiresAt: z.string() })),
});
const invited = z.looseObject({ id: z.string(), expiresAt: z.string() });
const started = z.object({ operation });

const list = defineCommand({
  meta: { name: "list", description: "List a tenant's members and open invitations" },
  args: { ...nameArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await api.get(path(args.name, "members"), members);
    const rows = [
      ...found.items.map((one) => [one.accountId, one.email, one.role, `since ${one.since}`]),
      ...found.invitations.map((one) => [one.id, one.email, one.role, `invited until ${one.expiresAt}`]),
    ];
    output.data(found, table(["ID", "ADDRESS", "ROLE", "STATE"], rows));
  },
});

const invite = defineCommand({
  meta: { name: "invite", description: "Invite somebody by mail; inviting again replaces the open invitation" },
  args: {
    ...nameArg,
    email: { type: "positional", required: true, description: "Their address" },
    role: { ...role, default: "member" },
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const body = { email: args.email, role: args.role };
    const answer = await api.post(path(args.name, "invitations"), body, invited);
    output.data(answer, `${answer.id}  ${args.email} is invited until ${answer.expiresAt}`);
  },
});

const resend = defineCommand({
  meta: { name: "resend", description: "Send an invitation again; its old link stops working" },
  args: { ...nameArg, ...idArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.post(path(args.name, "invitations", args.id, "resend"), {}, invited);
    output.data(answer, `${answer.id}  sent again, good until ${answer.expiresAt}`);
  },
});

const uninvite = defineCommand({
  meta: { name: "uninvite", description: "Revoke an invitation: its link stops working" },
  args: { ...nameArg, ...idArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.delete(path(args.name, "invitations", args.id), z.looseObject({ id: z.string() }));
    output.data(answer, `the invitation ${answer.id} is revoked`);
  },
});

const setRole = defineCommand({
  meta: { name: "set-role", description: "Change a member's role; it holds within 10 s" },
  args: { ...nameArg, ...idArg, role: { ...role, required: true as const }, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.patch(path(args.name, "members", args.id), { role: args.role }, started);
    const done = await settle(api, output, answer.operation, args.wait === true);
    output.data(done, `${args.id} is ${args.role}`);
  },
});

const remove = defineCommand({
  meta: { name: "remove", description: "Remove a member; their sessions on the tenant's hosts end within 10 s" },
  args: { ...nameArg, ...idArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.delete(path(args.name, "members", args.id), started);
    const done = await settle(api, output, answer.operation, args.wait === true);
    output.data(done, `${args.id} is no member any more`);
  },
});

export default defineCommand({
  meta: { name: "member", description: "Members of a tenant, and invitations" },
  subCommands: { list, invite, resend, uninvite, "set-role": setRole, remove },
});
