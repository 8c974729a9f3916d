import { defineCommand } from "citty";
import { z } from "zod";
import type { Operation } from "../api/types.ts";
import { operation } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

const idArg = { id: { type: "positional", required: true, description: "The operation's id (op_...)" } } as const;
const path = (id: string): string => `/operations/${encodeURIComponent(id)}`;

function describe(found: Operation): string {
  const rows = found.steps.map((step) => [
    step.name,
    step.state,
    tookSeconds(step.startedAt, step.finishedAt),
    String(step.attempts),
    step.reason ?? "",
  ]);
  const state = `${found.id}  ${found.kind}  ${found.state}${found.reason === null ? "" : `: ${found.reason}`}`;
  return `${state}\n${table(["STEP", "STATE", "TOOK", "FAILED ATTEMPTS", "REASON"], rows)}`;
}

const tookSeconds = (from: string | null, to: string | null): string =>
  from === null || to === null ? "" : `${((Date.parse(to) - Date.parse(from)) / 1_000).toFixed(2)} s`;

const show = defineCommand({
  meta: { name: "show", description: "Show an operation and its steps" },
  args: { ...idArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await api.get(path(args.id), operation);
    const shown = args.wait === true ? await settle(api, output, found, true) : found;
    output.data(shown, describe(shown));
  },
});

const list = defineCommand({
  meta: { name: "list", description: "List operations, the newest first" },
  args: {
    tenant: { type: "string", description: "Only this tenant's" },
    state: { type: "enum", options: ["pending", "running", "succeeded", "failed"], description: "Only in this state" },
    limit: { type: "string", default: "50", description: "How many, the newest of them", valueHint: "number" },
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const query = new URLSearchParams({ limit: args.limit });
    if (args.tenant !== undefined) query.set("tenant", args.tenant);
    if (args.state !== undefined) query.set("state", args.state);
    const { items: found } = await api.get(`/operations?${query.toString()}`, z.object({ items: z.array(operation) }));
    if (output.json) {
      for (const one of found) output.data(one, "");
      return;
    }
    output.data(
      {},
      table(
        ["OPERATION", "CREATED", "KIND", "OF", "STATE", "REASON"],
        found.map((one) => [one.id, one.createdAt, one.kind, one.subjectId, one.state, one.reason ?? ""]),
      ),
    );
  },
});

const retry = defineCommand({
  meta: { name: "retry", description: "Try a failed operation again, from the step that failed" },
  args: { ...idArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.post(`${path(args.id)}/retry`, {}, z.object({ operation }));
    const shown = await settle(api, output, answer.operation, args.wait === true);
    output.data(shown, describe(shown));
  },
});

const cancel = defineCommand({
  meta: {
    name: "cancel",
    description: "End an operation that is under way; a tenant that is being made, or could not be made, is taken back",
  },
  args: { ...idArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.post(
      `${path(args.id)}/cancel`,
      {},
      z.object({ operation, rollback: operation.nullable() }),
    );
    const { rollback } = answer;
    if (rollback !== null) {
      output.say(`Operation ${answer.operation.id} is cancelled; ${rollback.id} takes back what was made.`);
      const shown = await settle(api, output, rollback, args.wait === true);
      output.data(shown, describe(shown));
      return;
    }
    output.data(answer.operation, describe(answer.operation));
  },
});

export default defineCommand({
  meta: { name: "operation", description: "Show operations, cancel them, try failed ones again" },
  subCommands: { show, list, retry, cancel },
});
