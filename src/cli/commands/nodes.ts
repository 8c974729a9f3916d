import { defineCommand } from "citty";
import { z } from "zod";
import { node, operation } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { drainArg, drainSecondsOf } from "./drain-arg.ts";
import { create, labelsOf, token } from "./nodes-enrol.ts";

const nameArg = { name: { type: "positional", required: true, description: "Name of the node" } } as const;
const labelsText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
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
      labelsText(one.labels),
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
  meta: { name: "set", description: "Change a node's room and labels, or where masters reach it" },
  args: {
    ...nameArg,
    capacity: { type: "string", description: "Tenants that it has room for; those it has stay", valueHint: "n" },
    label: {
      type: "string",
      description: "All of its labels with commas, for example dedicated=true,zone=a, or none",
      valueHint: "key=value",
    },
    "masters-address": {
      type: "string",
      description: "host:port as in the node's certificate for masters, or none",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { capacity, label, "masters-address": address } = args;
    if (capacity !== undefined && !/^[0-9]{1,6}$/.test(capacity))
      throw new CliError(EXIT.usage, `"${capacity}" is no number of tenants`, "Give --capacity, for example 100.");
    const body = {
      ...(capacity !== undefined && { capacity: Number(capacity) }),
      ...(label !== undefined && { labels: label === "none" ? {} : labelsOf(label) }),
      ...(address !== undefined && { mastersAddress: address === "none" ? null : address }),
    };
    if (Object.keys(body).length === 0)
      throw new CliError(EXIT.usage, "nothing to change", "Give --capacity, --label or --masters-address.");
    const { api, output } = connectApi(args);
    const started = await api.patch(path(args.name), body, z.object({ operation, node }));
    await settle(api, output, started.operation, args.wait === true);
    const { name, tenants, capacity: room, labels, mastersAddress } = started.node;
    const shown = labelsText(labels) === "" ? "none" : labelsText(labels);
    output.data(
      started.node,
      `${name}  tenants: ${tenants}/${room}  labels: ${shown}  masters: ${mastersAddress ?? "none"}`,
    );
  },
});

const remove = defineCommand({
  meta: { name: "delete", description: "Remove a node that has no tenants; its agent is refused from then on" },
  args: { ...nameArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const started = await api.delete(path(args.name), z.object({ operation, node }));
    await settle(api, output, started.operation, args.wait === true);
    output.data(started.node, `${started.node.name} is removed`);
  },
});

export default defineCommand({
  meta: { name: "nodes", description: "The platform's nodes: register, show, change, empty, remove them" },
  subCommands: { list, create, token, set, drain, activate, delete: remove },
});
