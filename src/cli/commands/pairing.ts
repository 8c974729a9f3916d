import { defineCommand } from "citty";
import { z } from "zod";
import { connector, operation, relay } from "../api/types.ts";
import { table } from "../frame/output.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

const tenantArg = { tenant: { type: "positional", required: true, description: "slug, or slug@cluster" } } as const;
const requestArgs = {
  ...tenantArg,
  request: { type: "positional", required: true, description: "The request's id, as list shows it" },
} as const;
const path = (tenant: string): string => `/tenants/${encodeURIComponent(tenant)}/pairing`;
const asking = z.object({
  until: z.string().nullable(),
  items: z.array(
    z.looseObject({
      id: z.string(),
      connector: z.string(),
      software: z.string(),
      clientAddress: z.string().nullable(),
      at: z.string(),
    }),
  ),
});

const open = defineCommand({
  meta: { name: "open", description: "Let unknown connectors ask to be let in, for some minutes" },
  args: {
    ...tenantArg,
    minutes: { type: "string", description: "1 to 60; 0 closes the window", default: "10" },
    ...commonArgs,
  },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const body = { minutes: Number(args.minutes) };
    const answer = await api.post(path(args.tenant), body, z.object({ operation, relay }));
    await settle(api, output, answer.operation, true);
    const { pairingUntil } = answer.relay;
    output.data(answer.relay, pairingUntil === null ? "closed" : `open until ${pairingUntil}`);
  },
});

const list = defineCommand({
  meta: { name: "list", description: "List who asks to be let in" },
  args: { ...tenantArg, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const { until, items } = await api.get(path(args.tenant), asking);
    if (output.json) {
      for (const one of items) output.data(one, "");
      return;
    }
    output.say(until === null ? "The window is closed." : `The window is open until ${until}.`);
    // As the connector shows it, so that people can compare the two.
    const rows = items.map((one) => [
      one.connector,
      fingerprint(one.id),
      one.software,
      one.clientAddress ?? "-",
      one.id,
    ]);
    output.data({}, table(["CONNECTOR", "FINGERPRINT", "SOFTWARE", "FROM", "ID"], rows));
  },
});

/** The first 16 hexadecimal digits of the key's thumbprint, which is the id. */
const fingerprint = (id: string): string =>
  (Buffer.from(id, "base64url").toString("hex", 0, 8).toUpperCase().match(/.{4}/g) ?? []).join("-");

const accept = defineCommand({
  meta: { name: "accept", description: "Let a connector in, with the key that it brought" },
  args: { ...requestArgs, ...waitArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const url = `${path(args.tenant)}/${encodeURIComponent(args.request)}/accept`;
    const answer = await api.post(url, {}, z.object({ operation, connector }));
    await settle(api, output, answer.operation, args.wait === true);
    output.data(answer.connector, `${answer.connector.name} of ${answer.connector.tenant} is let in`);
  },
});

const reject = defineCommand({
  meta: { name: "reject", description: "Send a connector that asks away" },
  args: { ...requestArgs, ...commonArgs },
  async run({ args }) {
    const { api, output } = connectApi(args);
    const url = `${path(args.tenant)}/${encodeURIComponent(args.request)}/reject`;
    const answer = await api.post(url, {}, z.object({ rejected: z.string() }));
    output.data(answer, "sent away");
  },
});

export default defineCommand({
  meta: { name: "pairing", description: "Let connectors in that nobody has registered, by a look and a word" },
  subCommands: { open, list, accept, reject },
});
