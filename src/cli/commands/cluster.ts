import { defineCommand } from "citty";
import { z } from "zod";
import { operation } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import services from "./cluster-services.ts";

const cluster = z.looseObject({ name: z.string(), baseDomains: z.array(z.string()), isDefault: z.boolean() });

const namesIn = (text: string): string[] => text.split(",").map((name) => name.trim());

const list = defineCommand({
  meta: { name: "list", description: "List the platform's clusters" },
  args: commonArgs,
  async run({ args }) {
    const { api, output } = connectApi(args);
    const clusters = await api.list("/clusters", cluster);
    if (output.json) {
      for (const one of clusters) output.data(one, "");
      return;
    }
    const rows = clusters.map((one) => [one.name, one.isDefault ? "yes" : "", one.baseDomains.join(" ")]);
    output.data({}, table(["CLUSTER", "DEFAULT", "BASE DOMAINS"], rows));
  },
});

const create = defineCommand({
  meta: { name: "create", description: "Register a cluster" },
  args: {
    name: { type: "positional", required: true, description: "Name of the cluster" },
    domains: {
      type: "string",
      required: true,
      description: "Base domains with commas; a tenant gets a host below each",
      valueHint: "DOMAINS",
    },
    "database-binding": {
      type: "string",
      required: true,
      description: "The provisioner's binding for its database, for example CLUSTER_DB_EU",
      valueHint: "NAME",
    },
    "database-address": {
      type: "string",
      required: true,
      description: "Where services reach that database: postgres://host:port/database, no user, no password",
      valueHint: "url",
    },
    default: { type: "boolean", description: "New tenants and nodes go there unless somebody says otherwise" },
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const body = {
      name: args.name,
      baseDomains: namesIn(args.domains),
      databaseBinding: args["database-binding"],
      databaseAddress: args["database-address"],
      isDefault: args.default === true,
    };
    const made = await api.post("/clusters", body, cluster);
    output.data(made, `${made.name}  ${made.baseDomains.join(" ")}`);
  },
});

const domains = defineCommand({
  meta: { name: "domains", description: "Give a cluster other base domains; its tenants' hosts follow" },
  args: {
    name: { type: "positional", required: true, description: "Name of the cluster" },
    set: {
      type: "string",
      required: true,
      description: "All base domains from now on, with commas",
      valueHint: "DOMAINS",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const path = `/clusters/${encodeURIComponent(args.name)}`;
    const answer = await api.patch(path, { baseDomains: namesIn(args.set) }, z.object({ operation, cluster }));
    await settle(api, output, answer.operation, args.wait === true);
    output.data(answer.cluster, `${answer.cluster.name}  ${answer.cluster.baseDomains.join(" ")}`);
  },
});

export default defineCommand({
  meta: { name: "cluster", description: "Groups of nodes with a database, base domains and a catalogue of services" },
  subCommands: { list, create, domains, services },
});
