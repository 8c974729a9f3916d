import { defineCommand } from "citty";
import { z } from "zod";
import { operation } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { jobHistory } from "./job-history.ts";
import { readJsonFile } from "./json-file.ts";

const tenantArg = {
  tenant: { type: "positional", required: true, description: "The tenant: slug, or slug@cluster" },
} as const;
const jobArgs = { ...tenantArg, job: { type: "positional", required: true, description: "The job's name" } } as const;
const at = (tenant: string, rest = ""): string => `/tenants/${encodeURIComponent(tenant)}${rest}`;
const jobAt = (args: { readonly tenant: string; readonly job: string }, verb = ""): string =>
  at(args.tenant, `/jobs/${encodeURIComponent(args.job)}${verb}`);

const job = z.looseObject({
  id: z.string(),
  name: z.string(),
  worker: z.number(),
  enabled: z.boolean(),
  schedule: z.looseObject({
    kind: z.string(),
    everySeconds: z.number().optional(),
    expression: z.string().optional(),
    timeZone: z.string().optional(),
  }),
  action: z.looseObject({
    kind: z.string(),
    target: z.string().optional(),
    service: z.string().optional(),
    path: z.string().optional(),
    url: z.string().optional(),
  }),
  problem: z.string().nullable(),
  cursor: z.string().nullable(),
});
type Job = z.infer<typeof job>;
const started = z.object({ operation, job: job.optional(), signingSecret: z.string().optional() });

const whenOf = ({ schedule: { kind, everySeconds, expression, timeZone } }: Job): string =>
  kind === "interval" ? `every ${everySeconds} s` : kind === "cron" ? `${expression} (${timeZone})` : "by hand";
const whatOf = ({ action: { kind, target, service, path, url } }: Job): string =>
  kind === "webhook" ? `${kind} ${url}` : `${kind} ${target ?? service} ${path}`;
const stateOf = ({ problem, enabled }: Job): string => problem ?? (enabled ? "on" : "off");

const rowsOf = (jobs: readonly Job[]): string =>
  table(
    ["JOB", "WORKER", "WHEN", "WHAT", "STATE", "CURSOR"],
    jobs.map((one) => [one.name, String(one.worker), whenOf(one), whatOf(one), stateOf(one), one.cursor ?? ""]),
  );

const list = defineCommand({
  meta: { name: "list", description: "List a tenant's jobs, those that can't run with the reason" },
  args: { ...tenantArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { items } = await api.get(at(args.tenant, "/jobs"), z.object({ items: z.array(job) }));
    if (!output.json) return output.data({}, rowsOf(items));
    for (const one of items) output.data(one, "");
  },
});

const show = defineCommand({
  meta: { name: "show", description: "Show a job as it is written in a file for create" },
  args: { ...jobArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await api.get(jobAt(args), job);
    output.data(found, JSON.stringify(found, null, 2));
  },
});

/** What came of a change: the job, and a signing secret that nobody can show again. */
async function settled(
  args: Parameters<typeof connectApi>[0] & { readonly wait?: boolean | undefined },
  change: (api: ReturnType<typeof connectApi>["api"]) => Promise<z.infer<typeof started>>,
): Promise<void> {
  const { api, output } = connectApi(args);
  const answer = await change(api);
  // First: whatever happens next, nobody can show it again.
  if (answer.signingSecret !== undefined)
    output.say(`Signing secret of its webhook, shown this once: ${answer.signingSecret}`);
  await settle(api, output, answer.operation, args.wait === true);
  output.data(answer, answer.job === undefined ? "" : rowsOf([answer.job]));
}

const fileArg = (description: string) => ({ type: "string", required: true, description, valueHint: "file" }) as const;
const HINT = "docs/jobs.md has examples.";

const create = defineCommand({
  meta: { name: "create", description: "Create a job" },
  args: { ...tenantArg, file: fileArg("File with the job as JSON (- for stdin)"), ...waitArgs, ...commonArgs },
  run: ({ args }) => settled(args, (api) => api.post(at(args.tenant, "/jobs"), readJsonFile(args.file, HINT), started)),
});

const change = defineCommand({
  meta: { name: "change", description: "Change parts of a job" },
  args: { ...jobArgs, file: fileArg("File with the parts as JSON (- for stdin)"), ...waitArgs, ...commonArgs },
  run: ({ args }) => settled(args, (api) => api.patch(jobAt(args), readJsonFile(args.file, HINT), started)),
});

const switched = (name: "enable" | "disable", description: string) =>
  defineCommand({
    meta: { name, description },
    args: { ...jobArgs, ...waitArgs, ...commonArgs },
    run: ({ args }) => settled(args, (api) => api.patch(jobAt(args), { enabled: name === "enable" }, started)),
  });

const remove = defineCommand({
  meta: { name: "delete", description: "Delete a job; its runs stay on record" },
  args: { ...jobArgs, ...waitArgs, ...commonArgs },
  run: ({ args }) => settled(args, (api) => api.delete(jobAt(args), started)),
});

const signingSecret = defineCommand({
  meta: { name: "signing-secret", description: "Give a job's webhook a new signing secret; the old one ends at once" },
  args: { ...jobArgs, ...waitArgs, ...commonArgs },
  run: ({ args }) => settled(args, (api) => api.post(jobAt(args, "/signing-secret"), {}, started)),
});

const run = defineCommand({
  meta: { name: "run", description: "Run a job now, or as soon as its worker has finished what it is at" },
  args: { ...jobArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.post(jobAt(args, "/run"), {}, z.object({ runId: z.string() }));
    output.say(`Follow it: npx causeway job logs ${args.tenant} --run ${answer.runId}`);
    output.data(answer, answer.runId);
  },
});

const stop = defineCommand({
  meta: { name: "stop", description: "Stop a job's run; the current item is finished first" },
  args: { ...jobArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const shown = z.object({ runId: z.string(), finishesItem: z.boolean() });
    const answer = await api.post(jobAt(args, "/stop"), {}, shown);
    output.say(answer.finishesItem ? "It ends after its current item." : "It had not begun, and is withdrawn.");
    output.data(answer, answer.runId);
  },
});

const workers = defineCommand({
  meta: { name: "workers", description: "Show what a tenant's workers are at, or change how many there are" },
  args: {
    ...tenantArg,
    set: { type: "string", description: "How many (1 to 8)", valueHint: "number" },
    "retention-days": { type: "string", description: "Keep runs and log lines so long", valueHint: "days" },
    "log-level": {
      type: "enum",
      options: ["debug", "info", "warn", "error"],
      description: "Keep lines from this one on",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const path = at(args.tenant, "/job-workers");
    const wanted = {
      ...(args.set !== undefined && { workers: Number(args.set) }),
      ...(args["retention-days"] !== undefined && { retentionDays: Number(args["retention-days"]) }),
      ...(args["log-level"] !== undefined && { logLevel: args["log-level"] }),
    };
    if (Object.keys(wanted).length > 0) {
      const answer = await api.patch(path, wanted, z.object({ operation }));
      await settle(api, output, answer.operation, args.wait === true);
    }
    const found = await api.get(path, workerList);
    const rows = found.items.map(({ worker, running, queued, next }) => [
      String(worker),
      running === null ? "" : `${running.runId}, item ${running.item}${running.stopping ? ", stopping" : ""}`,
      String(queued.length),
      next[0]?.at ?? "",
    ]);
    output.data(found, table(["WORKER", "RUNNING", "WAITING", "NEXT"], rows));
  },
});

const workerList = z.looseObject({
  settings: z.looseObject({ workers: z.number() }),
  items: z.array(
    z.looseObject({
      worker: z.number(),
      running: z.looseObject({ runId: z.string(), item: z.number(), stopping: z.boolean() }).nullable(),
      queued: z.array(z.looseObject({ runId: z.string() })),
      next: z.array(z.looseObject({ at: z.string() })),
    }),
  ),
});

export default defineCommand({
  meta: { name: "job", description: "Background jobs of tenants: what they do, when, and what came of it" },
  subCommands: {
    list,
    show,
    create,
    change,
    enable: switched("enable", "Switch a job on"),
    disable: switched("disable", "Switch a job off; a run under way ends after its current item"),
    delete: remove,
    "signing-secret": signingSecret,
    run,
    stop,
    ...jobHistory,
    workers,
  },
});
