import { defineCommand } from "citty";
import { z } from "zod";
import type { Api } from "../api/client.ts";
import { operation, relay } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { type Output, table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";
import { readJsonFile } from "./json-file.ts";

const started = z.object({ operation, relay });
const issuers = z.object({
  items: z.array(
    z.looseObject({
      issuer: z.string(),
      audience: z.string(),
      keys: z.array(z.string()),
      fetchedAt: z.string().nullable(),
      problem: z.string().nullable(),
    }),
  ),
});
const nameArg = { name: { type: "positional", required: true, description: "slug, or slug@cluster" } } as const;
const path = (name: string): string => `/tenants/${encodeURIComponent(name)}`;

const LIMITS = ["concurrentRequests", "requestsPerSecond", "requestsPerSecondPerVisitor", "bodyBytes", "connectors"];
const TIMEOUTS = ["firstByteMs", "idleMs", "totalMs"];
const OTHERS = ["waitForConnectorMs", "keepAliveMs", "reconnectMaxMs", "tracing"];

const show = defineCommand({
  meta: { name: "show", description: "Show the settings of a tenant's relay" },
  args: { ...nameArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    print(output, await api.get(`${path(args.name)}/relay`, relay));
  },
});

function print(output: Output, found: z.infer<typeof relay>): void {
  const { limits, timeouts, ...rest } = found;
  const rows = Object.entries({ ...rest, ...limits, ...timeouts }).map(([key, value]) => [
    key,
    value === null ? "none" : typeof value === "string" ? value : JSON.stringify(value),
  ]);
  output.data(found, table(["SETTING", "VALUE"], rows));
}

const set = defineCommand({
  meta: { name: "set", description: "Change settings, for example: tenant relay set acme concurrentRequests=20" },
  args: {
    ...nameArg,
    setting: {
      type: "positional",
      required: true,
      description: `NAME=VALUE, several with commas; "none" ends one. Names: ${[...LIMITS, ...TIMEOUTS, ...OTHERS].join(" ")}`,
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const change = changeOf(args.setting.split(","));
    await finish(api, output, await api.patch(`${path(args.name)}/relay`, change, started), args.wait === true);
  },
});

async function finish(api: Api, output: Output, answer: z.infer<typeof started>, wait: boolean): Promise<void> {
  await settle(api, output, answer.operation, wait);
  print(output, answer.relay);
}

/** What is in a value the API checks. */
function changeOf(settings: readonly string[]): object {
  const limits: Record<string, unknown> = {};
  const timeouts: Record<string, unknown> = {};
  const others: Record<string, unknown> = {};
  for (const setting of settings) {
    const [, name = "", text = ""] = /^(\w+)=(.+)$/.exec(setting) ?? [];
    const value = text === "none" ? null : text === "true" || text === "false" ? text === "true" : Number(text);
    const into = LIMITS.includes(name)
      ? limits
      : TIMEOUTS.includes(name)
        ? timeouts
        : OTHERS.includes(name)
          ? others
          : null;
    if (into === null)
      throw new CliError(EXIT.usage, `${setting} is no setting`, "NAME=VALUE; --help lists the names.");
    if (Number.isNaN(value))
      throw new CliError(EXIT.usage, `${setting}: "${text}" is no value`, "A number, true, false, or none.");
    into[name] = value;
  }
  return { limits, timeouts, ...others };
}

function transition(verb: "enable" | "disable", description: string) {
  return defineCommand({
    meta: { name: verb, description },
    args: { ...nameArg, ...waitArgs, ...commonArgs },
    async run({ args }) {
      const { api, output } = connectApi(args);
      await finish(api, output, await api.post(`${path(args.name)}/relay/${verb}`, {}, started), args.wait === true);
    },
  });
}

const trust = defineCommand({
  meta: { name: "issuers", description: "Show the outside issuers that a tenant trusts, or replace all of them" },
  args: {
    ...nameArg,
    set: {
      type: "string",
      description: 'File with [{"issuer": URL, "audience": TEXT}] (- for stdin)',
      valueHint: "file",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    if (args.set !== undefined) {
      const json = readJsonFile(args.set, 'A list of {"issuer": "https://...", "audience": "..."}.');
      const body = Array.isArray(json) ? { items: json } : json;
      const answer = await api.put(`${path(args.name)}/issuers`, body, started);
      await settle(api, output, answer.operation, args.wait === true);
    }
    const found = await api.get(`${path(args.name)}/issuers`, issuers);
    const rows = found.items.map((one) => [
      one.issuer,
      one.audience,
      String(one.keys.length),
      one.problem ?? one.fetchedAt ?? "not fetched yet",
    ]);
    output.data(found, table(["ISSUER", "AUDIENCE", "KEYS", "FETCHED"], rows));
  },
});

export default defineCommand({
  meta: { name: "relay", description: "Limits, timers and trust of a tenant's relay; switch it off and on" },
  subCommands: {
    show,
    set,
    enable: transition("enable", "Switch the relay on again"),
    disable: transition("disable", "Switch the relay off: connectors' sockets end, nobody dials in"),
    issuers: trust,
  },
});
