import process from "node:process";
import { createInterface } from "node:readline/promises";
import { defineCommand } from "citty";
import { z } from "zod";
import { operation, tenant } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import host from "./tenant-host.ts";
import member from "./tenant-member.ts";
import move from "./tenant-move.ts";
import { maintenanceCommand, passwordCommand, policyCommand } from "./tenant-policy.ts";
import relay from "./tenant-relay.ts";
import revokeSessions from "./tenant-revoke-sessions.ts";
import routes from "./tenant-routes.ts";
import services from "./tenant-services.ts";
import token from "./tenant-token.ts";
import workspaces from "./tenant-workspaces.ts";

const started = z.object({ operation, tenant });
const nameArg = { name: { type: "positional", required: true, description: "slug, or slug@cluster" } } as const;
const path = (name: string): string => `/tenants/${encodeURIComponent(name)}`;

const create = defineCommand({
  meta: { name: "create", description: "Create a tenant: database schema, services, routes, host" },
  args: {
    slug: { type: "positional", required: true, description: "3-40 characters a-z, 0-9 and -" },
    cluster: { type: "string", description: "Cluster (default: the default one)" },
    node: { type: "string", description: "Node (default: the one with the most room)" },
    services: {
      type: "string",
      description: "Services of the cluster's catalogue, with commas, or none (default: the catalogue's defaults)",
      valueHint: "names",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { slug, cluster, node, services: names } = args;
    const body = {
      slug,
      ...(cluster !== undefined && { cluster }),
      ...(node !== undefined && { node }),
      ...(names !== undefined && { services: names === "none" ? [] : names.split(",").map((name) => name.trim()) }),
    };
    const answer = await api.post("/tenants", body, started);
    await settle(api, output, answer.operation, args.wait === true);
    const made = args.wait === true ? await api.get(path(answer.tenant.name), tenant) : answer.tenant;
    output.data(
      made,
      `${made.name}  ${made.state}  ${made.hosts.join(" ")}${made.node === null ? "" : `  on ${made.node}`}`,
    );
  },
});

const list = defineCommand({
  meta: { name: "list", description: "List tenants" },
  args: commonArgs,
  async run({ args }) {
    const { api, output } = connectApi(args);
    const tenants = await api.list("/tenants", tenant);
    if (output.json) {
      for (const one of tenants) output.data(one, "");
      return;
    }
    const rows = tenants.map((one) => [one.name, one.state, one.node ?? "-", one.hosts.join(" ")]);
    output.data({}, table(["TENANT", "STATE", "NODE", "HOSTS"], rows));
  },
});

const show = defineCommand({
  meta: { name: "show", description: "Show a tenant" },
  args: { ...nameArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await api.get(path(args.name), tenant);
    const lines = Object.entries(found).map(([key, value]) => [
      key,
      typeof value === "string" ? value : JSON.stringify(value),
    ]);
    output.data(found, table(["FIELD", "VALUE"], lines));
  },
});

function transition(name: "suspend" | "resume" | "rotate-credentials", description: string, action: string = name) {
  return defineCommand({
    meta: { name, description },
    args: { ...nameArg, ...waitArgs, ...commonArgs },
    async run({ args }) {
      const { api, output } = connectApi(args);
      const answer = await api.post(`${path(args.name)}/${action}`, {}, started);
      await settle(api, output, answer.operation, args.wait === true);
      output.data(answer.tenant, `${answer.tenant.name}  ${answer.tenant.state}`);
    },
  });
}

const remove = defineCommand({
  meta: { name: "delete", description: "Delete a tenant and all its data" },
  args: {
    ...nameArg,
    force: { type: "boolean", description: "Don't ask; the data can't be brought back" },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    if (args.force !== true) {
      const found = await api.get(path(args.name), tenant);
      const what = `this deletes ${found.name} (${found.state}, ${found.hosts.join(" ")}) with its database schema`;
      const asked = process.stdin.isTTY && process.stderr.isTTY;
      if (!asked || !(await confirmed(`${what}. Its name, to go on: `, found.name)))
        throw new CliError(
          EXIT.refused,
          asked ? "not confirmed" : what,
          "Nothing was changed. To go on without a question: --force.",
        );
    }
    const answer = await api.delete(path(args.name), started);
    await settle(api, output, answer.operation, args.wait === true);
    output.data(answer.tenant, `${answer.tenant.name}  ${args.wait === true ? "deleted" : answer.tenant.state}`);
  },
});

/** Asks a person at a terminal to type the name. Anything else is a no, Ctrl+C and the end of the input too. */
async function confirmed(question: string, name: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await terminal.question(question)).trim() === name;
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") return false;
    throw error;
  } finally {
    terminal.close();
  }
}

export default defineCommand({
  meta: { name: "tenant", description: "Create, show and change tenants" },
  subCommands: {
    create,
    list,
    show,
    suspend: transition("suspend", "Show visitors a page instead of the tenant"),
    resume: transition("resume", "End a suspension"),
    "rotate-credentials": transition(
      "rotate-credentials",
      "Give its services a new login of its database; the old one ends when they have the new one",
      "credentials/rotate",
    ),
    move,
    host,
    routes,
    services,
    workspaces,
    policy: policyCommand,
    password: passwordCommand,
    maintenance: maintenanceCommand,
    token,
    member,
    "revoke-sessions": revokeSessions,
    relay,
    delete: remove,
  },
});
