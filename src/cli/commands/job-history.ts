import { defineCommand } from "citty";
import { z } from "zod";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi } from "./api.ts";

const args = {
  tenant: { type: "positional", required: true, description: "The tenant: slug, or slug@cluster" },
  job: { type: "string", description: "Only this job's" },
  limit: { type: "string", default: "50", description: "How many, the newest of them", valueHint: "number" },
} as const;

const run = z.looseObject({
  id: z.string(),
  job: z.string(),
  trigger: z.string(),
  state: z.string(),
  queuedAt: z.string(),
  startedAt: z.string().nullable(),
  endedAt: z.string().nullable(),
  items: z.number(),
  records: z.number(),
  errors: z.number(),
  retries: z.number(),
  reason: z.string().nullable(),
});
const line = z.looseObject({
  at: z.string(),
  level: z.string(),
  jobId: z.string(),
  runId: z.string(),
  message: z.string(),
});

const query = (given: Readonly<Record<string, string | undefined>>): string => {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) if (value !== undefined) all.set(name, value);
  return all.toString();
};

const runs = defineCommand({
  meta: { name: "runs", description: "List runs of a tenant's jobs, the newest first" },
  args: {
    ...args,
    state: {
      type: "enum",
      options: ["queued", "running", "succeeded", "failed", "stopped"],
      description: "Only those in this state",
    },
    ...commonArgs,
  },
  async run({ args: { tenant, job, limit, state, ...common } }) {
    const { api, output } = connectApi(common);
    const path = `/tenants/${encodeURIComponent(tenant)}/job-runs?${query({ job, limit, state })}`;
    const { items } = await api.get(path, z.object({ items: z.array(run) }));
    if (output.json) {
      for (const one of items) output.data(one, "");
      return;
    }
    const rows = items.map((one) => [
      one.id,
      one.job,
      one.trigger,
      one.state,
      one.startedAt ?? one.queuedAt,
      one.startedAt === null || one.endedAt === null
        ? ""
        : `${(Date.parse(one.endedAt) - Date.parse(one.startedAt)) / 1_000} s`,
      `${one.items}/${one.records}/${one.errors}/${one.retries}`,
      one.reason ?? "",
    ]);
    const head = ["RUN", "JOB", "TRIGGER", "STATE", "BEGAN", "TOOK", "ITEMS/RECORDS/ERRORS/RETRIES", "REASON"];
    output.data({}, table(head, rows));
  },
});

const logs = defineCommand({
  meta: { name: "logs", description: "Show log lines of a tenant's jobs, the oldest first" },
  args: {
    ...args,
    run: { type: "string", description: "Only this run's (run_...)" },
    level: { type: "enum", options: ["debug", "info", "warn", "error"], description: "Only of this level and above" },
    ...commonArgs,
  },
  async run({ args: { tenant, job, limit, run: runId, level, ...common } }) {
    const { api, output } = connectApi(common);
    const path = `/tenants/${encodeURIComponent(tenant)}/job-logs?${query({ job, limit, level, run: runId })}`;
    const { items } = await api.get(path, z.object({ items: z.array(line) }));
    for (const one of items.toReversed())
      output.data(one, `${one.at}  ${one.level.padEnd(5)}  ${one.runId}  ${one.message}`);
  },
});

export const jobHistory = { runs, logs };
