import { defineCommand } from "citty";
import { z } from "zod";
import { node, operation } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { drainArg, drainSecondsOf } from "./drain-arg.ts";
import { create, token } from "./nodes-enrol.ts";

const nameArg = { name: { type: "positional", required: true, description: "Name of the node" } } as const;
const path = (name: string): string => `/nodes/${encodeURIComponent(name)}`;

const list = defineCommand({
  meta: { name: "list", description: "List the platform's nodes" },
  args: commonArgs,
  async run({ args }) {
    const { api, output } = connectApi(args);
    const nodes = await api.list("/nodes", node);
    if (output.json) {
      for (const one of nodes) output.data(one, "");
      return;
    }
    const rows = nodes.map((one) => [
      one.name,
      one.cluster,
      one.role,
      one.state,
      one.online ? "online" : "offline",
      one.role === "master" ? "-" : `${one.tenants}/${one.capacity}`,
      Object.entries(one.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(" "),
    ]);
    output.data({}, table(["NODE", "CLUSTER", "ROLE", "STATE", "PRESENCE", "TENANTS", "LABELS"], rows));
  },
});

const drain = defineCommand({
  meta: { name: "drain", description: "Move all tenants of a node to others; it takes no new ones" },
  args: { ...nameArg, ...drainArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const body = { drainSeconds: drainSecondsOf(args.drain) };
    const started = await api.post(`${path(args.name)}/drain`, body, z.object({ operation, node }));
    await settle(api, output, started.operation, args.wait === true);
    const shown = args.wait === true ? await api.get(path(args.name), node) : started.node;
    output.data(shown, `${shown.name}  ${shown.state}  ${shown.tenants} tenants`);
  },
});

const activate = defineCommand({
  meta: { name: "activate", description: "Let a node take tenants again; ends its drain" },
  args: { ...nameArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const shown = await api.post(`${path(args.name)}/activate`, {}, node);
    output.data(shown, `${shown.name}  ${shown.state}`);
  },
});

const set = defineCommand({
  meta: { name: "set", description: "Say where masters reach a node" },
  args: {
    ...nameArg,
    "masters-address": {
      type: "string",
      required: true,
      description: "host:port as in the node's certificate for masters, or none",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const address = args["masters-address"];
    const body = { mastersAddress: address === "none" ? null : address };
    const started = await api.patch(path(args.name), body, z.object({ operation, node }));
    await settle(api, output, started.operation, args.wait === true);
    output.data(started.node, `${started.node.name}  masters: ${started.node.mastersAddress ?? "none"}`);
  },
});

export default defineCommand({
  meta: { name: "nodes", description: "The platform's nodes: register, show, change, empty them" },
  subCommands: { list, create, token, set, drain, activate },
});
