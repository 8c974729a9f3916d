import { defineCommand } from "citty";
import { z } from "zod";
import { type TenantHost, operation, tenantHost } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

const tenantArg = { tenant: { type: "positional", required: true, description: "slug, or slug@cluster" } } as const;
const hostArg = { host: { type: "positional", required: true, description: "Host without scheme and port" } } as const;
const hosts = z.object({ items: z.array(tenantHost) });
const begun = z.object({ operation, host: tenantHost });
const path = (tenant: string, ...rest: string[]): string =>
  ["/tenants", encodeURIComponent(tenant), "hosts", ...rest.map(encodeURIComponent)].join("/");

const list = defineCommand({
  meta: { name: "list", description: "List a tenant's hosts, its own ones with how far their proof is" },
  args: { ...tenantArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { items } = await api.get(path(args.tenant), hosts);
    const rows = items.map((one) => [one.host, one.kind, one.state, one.front?.state ?? "-", reasonOf(one)]);
    output.data({ items }, table(["HOST", "KIND", "STATE", "FRONT", "REASON"], rows));
  },
});

const add = defineCommand({
  meta: { name: "add", description: "Claim a host of the tenant's own, and show the DNS records that prove it" },
  args: { ...tenantArg, ...hostArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.post(path(args.tenant), { host: args.host }, begun);
    await settle(api, output, answer.operation, args.wait === true);
    const made = await find(api, args.tenant, answer.host.host);
    output.data(made, describe(made));
    if (!isServed(made))
      output.say(
        "Have its owner set one of the records. They are looked for every minute at first, for a week at most.",
      );
  },
});

const show = defineCommand({
  meta: { name: "show", description: "Show a host: its state, and the DNS records that prove it" },
  args: { ...tenantArg, ...hostArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const found = await find(api, args.tenant, args.host);
    output.data(found, describe(found));
  },
});

const check = defineCommand({
  meta: { name: "check", description: "Look for a host's proof now; with --wait it fails when there is none" },
  args: { ...tenantArg, ...hostArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.post(path(args.tenant, args.host, "check"), {}, begun);
    await settle(api, output, answer.operation, args.wait === true);
    const found = await find(api, args.tenant, answer.host.host);
    output.data(found, describe(found));
    if (args.wait === true && found.state !== "verified")
      throw new CliError(
        EXIT.failed,
        `${found.host} is ${found.state}: ${found.reason ?? "no reason given"}`,
        "A new record may take as long to be seen as the old answer's time to live. Try again then.",
      );
  },
});

const remove = defineCommand({
  meta: { name: "remove", description: "Remove a host of the tenant's own; claimed again, it has to be proven anew" },
  args: { ...tenantArg, ...hostArg, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const answer = await api.delete(path(args.tenant, args.host), z.object({ operation }));
    await settle(api, output, answer.operation, args.wait === true);
    output.data({ host: args.host, removed: true }, `${args.host}  ${args.wait === true ? "removed" : "leaving"}`);
  },
});

async function find(api: ReturnType<typeof connectApi>["api"], tenant: string, name: string): Promise<TenantHost> {
  const { items } = await api.get(path(tenant), hosts);
  const canonical = URL.canParse(`http://${name}`) ? new URL(`http://${name}`).hostname.replace(/\.$/, "") : name;
  const found = items.find(({ host }) => host === canonical);
  if (found !== undefined) return found;
  const hint = `List them: npx causeway tenant host list ${tenant}`;
  throw new CliError(EXIT.failed, `${tenant} has no host ${name}`, hint);
}

const isServed = ({ state }: TenantHost): boolean => state === "verified" || state === "stale";

const reasonOf = ({ reason, front }: TenantHost): string => reason ?? front?.reason ?? "";

function describe(host: TenantHost): string {
  const head = [`${host.host}  ${host.state}`, reasonOf(host)].filter((line) => line !== "");
  const records = [...host.records, ...(host.front?.records ?? [])];
  if (records.length === 0) return head.join("\n");
  const rows = records.map(({ type, name, value }) => [type, name, value]);
  return [...head, "", table(["TYPE", "NAME", "VALUE"], rows)].join("\n");
}

export default defineCommand({
  meta: { name: "host", description: "Hosts that a tenant brings: claim, prove, remove" },
  subCommands: { list, add, show, check, remove },
});
